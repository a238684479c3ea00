import {Agent, ProxyAgent, request, type Dispatcher} from 'undici'
import {readFileSync} from 'node:fs'
import {TestDispatcher} from '../../test/support/dispatcher.js'
import {FakeGithub} from '../../test/support/fake-github.js'
import {alternate, median} from '../measure.js'
import {startSidecar} from './sidecar.js'

const ROUNDS = 41
const API = 'api.github.com'

/** Milliseconds that sidecar and gateway add to a read and to a write of GitHub's API, on kept connections. */
export async function apiLatency(): Promise<{read: number; write: number}> {
  const github = await FakeGithub.start()
  const door = await TestDispatcher.start()
  if (door.tellGithub(github).code !== 0) throw new Error('upstream.put')
  const task = door.githubTask('fix')
  const pull = github.world.open(github.world.app, {title: 't', head: 'fix', base: 'main'})
  const sidecar = await startSidecar(door, task, [API])
  const direct = new Agent({connect: {ca: github.ca, servername: API}})
  const caged = new ProxyAgent({
    uri: 'http://127.0.0.1:3128',
    requestTls: {ca: readFileSync(door.box.path('sidecar/trust/ca.pem'))},
  })
  const token = github.issue()
  const ask = async (dispatcher: Dispatcher, origin: string, method: 'GET' | 'POST', path: string) => {
    const headers = {host: API, 'user-agent': 'bench', 'content-type': 'application/json'}
    const {statusCode, body} = await request(`${origin}/repos/org/app/${path}`, {
      dispatcher,
      method,
      headers: {...headers, authorization: `Bearer ${token}`},
      ...(method === 'POST' ? {body: JSON.stringify({body: 'a comment'})} : {}),
    })
    const text = await body.text()
    if (statusCode >= 300) throw new Error(`${method} ${path}: ${statusCode} ${text}`)
  }
  const added = async (method: 'GET' | 'POST', path: string) => {
    const times = await alternate(ROUNDS, {
      direct: () => ask(direct, `https://127.0.0.1:${github.port}`, method, path),
      caged: () => ask(caged, `https://${API}`, method, path),
    })
    // The first one opens connections and gets tokens.
    return median(times.caged.slice(1)) - median(times.direct.slice(1))
  }
  try {
    return {
      read: await added('GET', `pulls/${pull.number}`),
      write: await added('POST', `issues/${pull.number}/comments`),
    }
  } finally {
    sidecar.kill()
    await Promise.all([direct.close(), caged.close()])
    await door.stop()
    await github.stop()
  }
}
