import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {GitUpstream} from '../../support/git-upstream.js'
import {sampleSecret} from '../../support/secret-sample.js'

/** A repository with SHA-256 ids at a server of somebody else; its refs and objects are the judge. */
let forge: GitUpstream
let door: TestDispatcher
let task: TestTask
let first: string

beforeAll(async () => {
  forge = await GitUpstream.start()
  forge.create('org/app.git', '--object-format=sha256')
  forge.box.init('home', '--object-format=sha256')
  first = forge.box.commit('home', 'main', 'README.md', 'home\n')
  forge.box.commit('home', 'main', 'second.txt', 'second\n')
  forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
  door = await TestDispatcher.startBefore(forge)
  task = door.upstreamTask('fix')
  door.clone(task, 'agent')
  door.box.git('agent', 'checkout', '-q', '-b', 'fix')
})
afterAll(async () => {
  await door.stop()
  await forge.stop()
})

const push = (...args: string[]) => door.gitAsAsync(task, 'agent', 'push', 'origin', ...args)
const branch = () => forge.refs()['refs/heads/fix']

describe('with sha256 ids', () => {
  it('a push arrives, again and again, and the upstream’s repository stays whole', async () => {
    for (const name of ['a', 'b']) {
      const tip = door.box.commit('agent', 'fix', `${name}.txt`, `${name}\n`)
      expect(tip).toMatch(/^[0-9a-f]{64}$/)
      expect(await push('fix')).toMatchObject({code: 0})
      expect(branch()).toBe(tip)
    }
    forge.git('org/app.git', 'fsck', '--strict', '--full')
  })

  it.each([
    ['shallow', ['--depth', '1']],
    ['partial', ['--filter=blob:none']],
  ])('a push of a %s clone arrives whole', async (kind, args) => {
    const own = door.upstreamTask(kind)
    door.clone(own, kind, ...args)
    door.box.git(kind, 'checkout', '-q', '-b', kind)
    const tip = door.box.commit(kind, kind, `${kind}.txt`, `${kind}\n`)
    expect(await door.gitAsAsync(own, kind, 'push', 'origin', kind)).toMatchObject({code: 0})
    expect(forge.refs()[`refs/heads/${kind}`]).toBe(tip)
    forge.git('org/app.git', 'fsck', '--strict', '--full')
  })

  it('other branches, deleting, force, tags, paths and secrets are refused', async () => {
    const before = forge.refs()
    for (const ref of ['fix:main', ':fix', 'fix:refs/tags/v1', `+${first}:refs/heads/fix`])
      expect({ref, ...(await push(ref))}).toMatchObject({ref, code: 1})
    for (const [path, text, shown] of [
      ['.github/workflows/ci.yml', 'on: push\n', '[path]'],
      ['config.txt', `${sampleSecret('ghp_<crc:36>')}\n`, '[secret]'],
    ] as const) {
      door.box.commit('agent', 'fix', path, text)
      expect(await push('fix')).toMatchObject({code: 1, stderr: expect.stringContaining(shown)})
      door.box.git('agent', 'update-ref', 'refs/heads/fix', 'fix~1')
    }
    expect(forge.refs()).toEqual(before)
    const tip = door.box.commit('agent', 'fix', 'c.txt', 'c\n')
    expect(await push('fix')).toMatchObject({code: 0})
    expect(branch()).toBe(tip)
  })

  it('an upstream that applied and dropped the connection is reconciled', async () => {
    const tip = door.box.commit('agent', 'fix', 'dropped.txt', 'd\n')
    forge.fail({dropAfterPush: true})
    const pushed = await push('fix')
    forge.fail({})
    expect(pushed).toMatchObject({code: 0})
    expect(branch()).toBe(tip)
  })

  it('a clone with ids of the other kind cannot push', async () => {
    const before = forge.refs()
    door.box.init('old')
    door.box.commit('old', 'fix', 'x.txt', 'x\n')
    const refused = await door.gitAsAsync(task, 'old', 'push', door.forgeUrl(), 'fix')
    expect(refused.code).not.toBe(0)
    expect(forge.refs()).toEqual(before)
  })
})
