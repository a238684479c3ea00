import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {GitUpstream} from '../../support/git-upstream.js'
import {newerGit} from '../../support/newer-git.js'

/** A later git than the one that the rest of the tests has, with what it can do beyond that. The upstream's refs are the judge. */
const found = newerGit()
if ('missing' in found) console.warn(`skipped: ${found.missing}`)
const withNewer = 'bin' in found ? describe : describe.skip

withNewer('a newer git', () => {
  let forge: GitUpstream
  let door: TestDispatcher
  const own = (name: string, push: Partial<TestTask['grant']['push']> = {}) => {
    const path = 'bin' in found ? found.bin : ''
    const env = {PATH: `${path}:${process.env['PATH'] ?? ''}`}
    return Object.assign(door.upstreamTask(name, {}, push), {env})
  }
  const branch = (name: string) => forge.refs()[`refs/heads/${name}`]

  beforeAll(async () => {
    forge = await GitUpstream.start()
    forge.create()
    forge.box.init('home')
    for (const name of ['a', 'b', 'c']) forge.box.commit('home', 'main', `${name}.txt`, `${name}\n`)
    forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
    door = await TestDispatcher.startBefore(forge)
  })
  afterAll(async () => {
    await door.stop()
    await forge.stop()
  })

  it('is newer', () => {
    const version = (task: Parameters<TestDispatcher['gitAs']>[0]) =>
      /version (\d+)\.(\d+)/
        .exec(door.gitAs(task, '.', 'version').stdout)
        ?.slice(1)
        .map(Number) ?? []
    const [major = 0, minor = 0] = version(own('version'))
    const [ownMajor = 0, ownMinor = 0] = version({handle: ''})
    expect(major * 1000 + minor).toBeGreaterThan(ownMajor * 1000 + ownMinor)
  })

  it.each([
    ['plain', []],
    ['shallow', ['--depth=1']],
    ['partial', ['--filter=blob:none']],
    ['treeless', ['--filter=tree:0']],
    ['reftable', ['--ref-format=reftable']],
    ['bundle', ['-c', 'transfer.bundleURI=true']],
  ])('clones %s, pushes, pushes again, and fetches', (name, args) => {
    const task = own(name)
    const git = (...more: string[]) => door.gitAs(task, name, ...more)
    const cloned = door.gitAs(task, '.', 'clone', '-q', ...args, door.forgeUrl(), name)
    expect(cloned).toMatchObject({code: 0})
    expect(git('checkout', '-q', '-b', name)).toMatchObject({code: 0})
    for (const message of ['one', 'two']) {
      expect(git('commit', '-q', '--allow-empty', '-m', message)).toMatchObject({code: 0})
      expect(git('push', '-q', 'origin', name)).toMatchObject({code: 0, stderr: ''})
      expect(branch(name)).toBe(git('rev-parse', 'HEAD').stdout.trim())
    }
    expect(git('fetch', '-q', '--prune', 'origin')).toMatchObject({code: 0})
    forge.git('org/app.git', 'fsck', '--strict', '--full')
  })

  it('negotiates what it sends, and leases what it overwrites', () => {
    const task = own('lease', {force: true})
    const git = (...more: string[]) => door.gitAs(task, 'lease', ...more)
    door.gitAs(task, '.', 'clone', '-q', door.forgeUrl(), 'lease')
    git('checkout', '-q', '-b', 'lease')
    git('commit', '-q', '--allow-empty', '-m', 'one')
    expect(git('-c', 'push.negotiate=true', 'push', '-q', 'origin', 'lease')).toMatchObject({code: 0})
    git('commit', '-q', '--amend', '--allow-empty', '-m', 'another')
    const lease = ['--force-with-lease', '--force-if-includes']
    expect(git('push', '-q', ...lease, 'origin', 'lease')).toMatchObject({code: 0})
    expect(branch('lease')).toBe(git('rev-parse', 'HEAD').stdout.trim())
  })

  it('is refused what is not its own, each ref with its reason', () => {
    const task = own('refused')
    const before = forge.refs()
    door.gitAs(task, '.', 'clone', '-q', door.forgeUrl(), 'refused')
    door.gitAs(task, 'refused', 'commit', '-q', '--allow-empty', '-m', 'one')
    const {code, stderr} = door.gitAs(task, 'refused', 'push', 'origin', 'HEAD:main', 'HEAD:refs/tags/v1')
    expect({code, stderr}).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('[remote rejected] HEAD -> main'),
    })
    expect(stderr).toContain('tags are not granted')
    expect(forge.refs()).toEqual(before)
  })
})
