import {connect} from 'node:tls'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {handleHeader} from '../../../core/layout.js'
import type {Attack} from '../../../tasks/verify/cases.js'
import {gitPushes, gitRequests, pushControl, type GitTargets} from '../../../tasks/verify/cases-git.js'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {FakeGithub} from '../../support/fake-github.js'
import {GitUpstream} from '../../support/git-upstream.js'

const nonce = '0123456789abcdef'
const branch = `cage-verify/${nonce}`

/** What `cage verify` sends from a task, with the header that the sidecar adds: all of it against a dispatcher as it is. */
function said(door: TestDispatcher, handle: string, {do: act}: Attack): Promise<string> {
  const [, , , servername, request] = act.map(String)
  return new Promise((resolve, reject) => {
    const socket = connect(
      {host: '127.0.0.1', port: door.port, ca: door.certificate, servername: servername ?? ''},
      () => {
        const own = String(request).replace(/^x-cage-handle: .*\r\n/im, '')
        socket.write(own.replace('\r\n', `\r\n${handleHeader}: ${handle}\r\n`), 'latin1')
      },
    )
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.on('error', reject)
    socket.on('end', () => resolve(`answered: ${text}`.slice(0, 600)))
  })
}

async function failing(door: TestDispatcher, task: TestTask, targets: GitTargets): Promise<object[]> {
  const failed: object[] = []
  for (const one of gitRequests(targets)) {
    const words = await said(door, task.handle, one)
    if (!(one.verdict as RegExp).test(words)) failed.push({id: one.id, words})
  }
  return failed
}

describe('the hosted repository', () => {
  let door: TestDispatcher
  let task: TestTask
  const targets = (): GitTargets => ({
    grant: task.grant,
    url: 'https://git.cage.internal/shop.git',
    nonce,
    idLength: 40,
  })
  beforeAll(async () => {
    door = await TestDispatcher.startSeeded()
    task = door.task('verify', {branch})
  })
  afterAll(() => door.stop())

  it('refuses every request for the reason that is expected, and moves nothing', async () => {
    const before = door.refs()
    expect(await failing(door, task, targets())).toEqual([])
    expect(door.refs()).toEqual(before)
  })

  it('refuses every push for what is in it, and takes a harmless one', () => {
    door.clone(task, 'clone')
    const run = (one: Attack) => door.shellAs(task, 'clone', String(one.do[1]))
    const [pushes, control] = [gitPushes(targets()), pushControl(targets())]
    expect(pushes.map(({id}) => id)).toEqual(['GIT-14.file', 'GIT-14.older', 'GIT-14.message', 'GIT-13'])
    const before = door.refs()
    for (const one of pushes) expect(run(one)).toMatch(one.verdict)
    expect(door.refs()).toEqual(before)
    expect(run(control)).toMatch(control.verdict)
    expect(Object.keys(door.refs())).toContain(`refs/heads/${branch}`)
  })

  it('is not asked for what its policy allows', () => {
    const {grant} = task
    const open = {...grant, push: {...grant.push, deny: []}, secrets: {onFinding: 'warn'} as const}
    expect(gitPushes({...targets(), grant: open})).toEqual([])
  })

  it.each([
    [
      'a task that may push everywhere',
      (grant: GitTargets['grant']) => [`refs/heads/${grant.base}`],
      'GIT-1.base',
    ],
  ])('%s is found out', async (_, refs, id) => {
    const loose = door.task('loose', {branch}, {refs: [`refs/heads/${branch}`, ...refs(task.grant)]})
    const before = door.refs()
    const failed = await failing(door, loose, {...targets(), grant: {...loose.grant, task: 'loose'}})
    expect(failed).toContainEqual(expect.objectContaining({id}))
    expect(door.refs()).toEqual(before)
  })
})

describe('an upstream of others', () => {
  let forge: GitUpstream
  let door: TestDispatcher
  beforeAll(async () => {
    forge = await GitUpstream.start()
    forge.create()
    forge.box.init('home')
    forge.box.commit('home', 'main', 'README.md', 'app\n')
    forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
    door = await TestDispatcher.startBefore(forge)
  })
  afterAll(async () => {
    await door.stop()
    await forge.stop()
  })

  it('is asked the same, and nothing is left there', async () => {
    const task = door.upstreamTask('verify', {branch})
    const targets = {grant: task.grant, url: forge.url(), nonce, idLength: 40}
    // A first push makes the mirror that the requests are judged against.
    door.clone(task, 'clone')
    const control = pushControl(targets)
    const before = forge.refs()
    const run = (one: Attack) => door.shellAs(task, 'clone', String(one.do[1]))
    for (const one of gitPushes(targets)) expect(run(one)).toMatch(one.verdict)
    expect(run(control)).toMatch(control.verdict)
    expect(await failing(door, task, targets)).toEqual([])
    expect(forge.refs()).toEqual(before)
  })
})

describe('GitHub', () => {
  it('is asked by its API as well, and told nothing', async () => {
    const github = await FakeGithub.start()
    const door = await TestDispatcher.start()
    try {
      expect(door.tellGithub(github)).toMatchObject({code: 0})
      const task = door.githubTask('verify', {branch})
      const targets = {grant: task.grant, url: 'https://github.com/org/app', nonce, idLength: 40}
      const api = gitRequests(targets).filter(({do: [, host]}) => host === 'api.github.com')
      expect(api.map(({id}) => id)).toEqual([
        'CONTROL-api',
        'API-merge',
        'API-ref',
        'API-secrets',
        'API-other',
        'API-graphql',
      ])
      for (const one of api) expect(await said(door, task.handle, one)).toMatch(one.verdict)
      expect(github.world.changes).toEqual([])
    } finally {
      await door.stop()
      await github.stop()
    }
  })
})
