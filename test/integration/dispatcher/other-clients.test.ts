import * as fs from 'node:fs'
import {pathToFileURL} from 'node:url'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {testClients} from '../../support/clients.js'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {GitUpstream} from '../../support/git-upstream.js'

/** What isomorphic-git offers, as far as it is used here. */
interface Git {
  clone(options: object): Promise<void>
  add(options: object): Promise<void>
  branch(options: object): Promise<void>
  commit(options: object): Promise<string>
  push(options: object): Promise<{ok: boolean; refs: Record<string, {ok: boolean; error: string}>}>
  fetch(options: object): Promise<unknown>
}
interface Asked {
  url: string
  method?: string
  headers?: Record<string, string>
  body?: AsyncIterable<Uint8Array>
}

/** A client that shares no code with git: its own pkt-lines, packs and capabilities. The upstream's refs are the judge. */
const found = await testClients('test/clients/git/package.json')
if ('missing' in found) console.warn(`skipped: ${found.missing}`)
const withClient = 'modules' in found ? describe : describe.skip

withClient('isomorphic-git', () => {
  let forge: GitUpstream
  let door: TestDispatcher
  let task: TestTask
  let git: Git
  const author = {name: 'A Person', email: 'person@shop.invalid'}
  const http = {
    request: async ({url, method = 'GET', headers = {}, body}: Asked) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of body ?? []) chunks.push(chunk)
      const {pathname, search, hostname} = new URL(url)
      const answer = await door.request({
        handle: task.handle,
        method,
        path: `${pathname}${search}`,
        headers: {...headers, host: hostname},
        ...(chunks.length === 0 ? {} : {body: Buffer.concat(chunks)}),
      })
      return {
        url,
        method,
        statusCode: answer.status,
        statusMessage: '',
        headers: answer.headers,
        body: [new Uint8Array(answer.body)],
      }
    },
  }
  const place = () => ({fs, http, dir: door.box.path('agent')})
  const commit = async (name: string) => {
    fs.writeFileSync(door.box.path(`agent/${name}`), `${name}\n`)
    await git.add({...place(), filepath: name})
    return git.commit({...place(), message: `Add ${name}`, author})
  }

  beforeAll(async () => {
    const modules = 'modules' in found ? found.modules : ''
    git = ((await import(pathToFileURL(`${modules}/isomorphic-git/index.cjs`).href)) as {default: Git})
      .default
    forge = await GitUpstream.start()
    forge.create()
    forge.box.init('home')
    for (const name of ['a.txt', 'b.txt']) forge.box.commit('home', 'main', name, `${name}\n`)
    forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
    door = await TestDispatcher.startBefore(forge)
    task = door.upstreamTask('fix')
    await git.clone({...place(), url: forge.url(), ref: 'main', singleBranch: true, depth: 1})
    await git.branch({...place(), ref: 'fix', checkout: true})
  })
  afterAll(async () => {
    await door.stop()
    await forge.stop()
  })

  it('clones shallow, pushes, and pushes again', async () => {
    expect(fs.readFileSync(door.box.path('agent/b.txt'), 'utf8')).toBe('b.txt\n')
    for (const name of ['one.txt', 'two.txt']) {
      const tip = await commit(name)
      expect(await git.push({...place(), remote: 'origin', ref: 'fix'})).toMatchObject({ok: true})
      expect(forge.refs()['refs/heads/fix']).toBe(tip)
    }
    forge.git('org/app.git', 'fsck', '--strict', '--full')
    await git.fetch({...place(), remote: 'origin'})
  })

  it('is told by ref what is not its own', async () => {
    const before = forge.refs()
    await commit('three.txt')
    const refused = git.push({...place(), remote: 'origin', ref: 'fix', remoteRef: 'main', force: true})
    await expect(refused).rejects.toMatchObject({
      data: {result: {refs: {'refs/heads/main': {ok: false, error: expect.stringMatching(/./)}}}},
    })
    expect(forge.refs()).toEqual(before)
  })
})
