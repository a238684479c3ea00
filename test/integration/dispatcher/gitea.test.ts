import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {Gitea, giteaProgram} from '../../support/gitea.js'

/** A forge that people really run, behind the dispatcher; what Gitea says of its refs is the judge. */
const found = giteaProgram()
if ('missing' in found) console.warn(`skipped: ${found.missing}`)
const withGitea = 'folder' in found ? describe : describe.skip

withGitea('with Gitea as the upstream', () => {
  let forge: Gitea
  let door: TestDispatcher
  let task: TestTask
  const own = (name: string, over: Partial<TestTask['grant']['push']> = {}) =>
    door.upstreamTask(name, {repository: 'team/app.git'}, over)
  const url = () => door.forgeUrl('team/app.git')
  const git = (who: TestTask, where: string, ...args: string[]) => door.gitAsAsync(who, where, ...args)
  const push = (...refs: string[]) => git(task, 'agent', 'push', 'origin', ...refs)
  const branch = async (name = 'fix') => (await forge.refs())[`refs/heads/${name}`]

  beforeAll(async () => {
    forge = await Gitea.start('folder' in found ? found.folder : '')
    await forge.create('app')
    door = await TestDispatcher.startBefore(forge)
    task = own('fix')
    expect(await git(task, '.', 'clone', '-q', url(), 'agent')).toMatchObject({code: 0})
    door.box.git('agent', 'checkout', '-q', '-b', 'fix')
  }, 120_000)
  afterAll(async () => {
    await door.stop()
    await forge.stop()
  })

  it('a clone is the repository, and a push of the own branch arrives, again and again', async () => {
    expect(door.box.git('agent', 'show', 'HEAD:README.md')).toBe('app')
    for (const name of ['a', 'b']) {
      const tip = door.box.commit('agent', 'fix', `${name}.txt`, `${name}\n`)
      expect(await push('fix')).toMatchObject({code: 0})
      expect(await branch()).toBe(tip)
    }
  })

  it('other branches, deleting, force and tags are refused', async () => {
    const before = await forge.refs()
    door.box.commit('agent', 'fix', 'c.txt', 'c\n')
    door.box.git('agent', 'tag', '-f', 'v1', 'fix')
    for (const ref of ['fix:main', 'fix:other', ':fix', ':main', '+fix~2:fix', 'refs/tags/v1'])
      expect({ref, ...(await push(ref))}).toMatchObject({ref, code: 1})
    expect(await push('--mirror')).toMatchObject({code: 1})
    expect(await forge.refs()).toEqual(before)
    expect(await push('fix')).toMatchObject({code: 0})
  })

  it('and done where they are granted', async () => {
    const free = own('free', {
      refs: ['refs/heads/free'],
      force: true,
      delete: true,
      tags: ['refs/tags/free/*'],
    })
    const first = door.box.commit('agent', 'free', 'f.txt', 'f\n')
    door.box.commit('agent', 'free', 'g.txt', 'g\n')
    door.box.git('agent', 'tag', '-a', '-m', 'one', 'free/1', first)
    const freely = (...refs: string[]) => git(free, 'agent', 'push', 'origin', ...refs)
    expect(await freely('free', 'refs/tags/free/1')).toMatchObject({code: 0})
    expect(await forge.refs()).toMatchObject({
      'refs/tags/free/1': door.box.git('agent', 'rev-parse', 'free/1'),
    })
    expect(await freely(`+${first}:refs/heads/free`)).toMatchObject({code: 0})
    expect(await branch('free')).toBe(first)
    expect(await freely(':free')).toMatchObject({code: 0})
    expect(await branch('free')).toBeUndefined()
  })

  it('what Gitea itself refuses the agent is told in its words', async () => {
    const rule = {rule_name: 'guarded', enable_push: false}
    expect(await forge.call('POST', '/api/v1/repos/team/app/branch_protections', rule)).toMatchObject({
      status: 201,
    })
    const guarded = own('guarded')
    door.box.commit('agent', 'guarded', 'x.txt', 'x\n')
    const refused = await git(guarded, 'agent', 'push', 'origin', 'guarded')
    expect(refused).toMatchObject({code: 1, stderr: expect.stringContaining('upstream: ')})
    expect(await branch('guarded')).toBeUndefined()
  })

  it('all or nothing, where the client asks for that', async () => {
    const two = own('two', {refs: ['refs/heads/two', 'refs/heads/guarded']})
    const tip = door.box.commit('agent', 'two', 'two.txt', 'two\n')
    const both = ['two', 'two:guarded']
    expect(await git(two, 'agent', 'push', '--atomic', 'origin', ...both)).toMatchObject({code: 1})
    expect(await branch('two')).toBeUndefined()
    expect(await git(two, 'agent', 'push', '--atomic', 'origin', 'two')).toMatchObject({code: 0})
    expect(await branch('two')).toBe(tip)
  })

  it.each([
    ['shallow', ['--depth', '1']],
    ['partial', ['--filter=blob:none']],
  ])('a push of a %s clone arrives', async (kind, args) => {
    const cloner = own(kind)
    expect(await git(cloner, '.', 'clone', '-q', ...args, url(), kind)).toMatchObject({code: 0})
    door.box.git(kind, 'checkout', '-q', '-b', kind)
    const tip = door.box.commit(kind, kind, `${kind}.txt`, `${kind}\n`)
    expect(await git(cloner, kind, 'push', 'origin', kind)).toMatchObject({code: 0})
    expect(await branch(kind)).toBe(tip)
  })

  it('a branch that a person moved at Gitea is not overwritten', async () => {
    forge.box.commit('app', 'fix-of-a-person', 'p.txt', 'p\n')
    forge.push('app', '+fix-of-a-person:fix')
    const theirs = await branch()
    door.box.commit('agent', 'fix', 'd.txt', 'd\n')
    expect(await push('fix')).toMatchObject({code: 1})
    expect(await branch()).toBe(theirs)
  })

  it('Git LFS objects come through the dispatcher, and none is stored', async () => {
    const content = 'a large file\n'.repeat(1000)
    const object = await forge.lfsObject(content)
    const LFS = 'application/vnd.git-lfs+json'
    const headers = {host: 'forge.example.com', 'content-type': LFS, accept: LFS}
    const batch = (operation: string, oid = object.oid) =>
      door.request({
        method: 'POST',
        path: '/team/app.git/info/lfs/objects/batch',
        handle: task.handle,
        headers,
        body: JSON.stringify({operation, transfers: ['basic'], objects: [{...object, oid}]}),
      })
    const {status, body} = await batch('download')
    expect(status).toBe(200)
    expect(body.toString()).not.toContain(forge.token)
    const {objects} = JSON.parse(body.toString()) as {
      objects: {actions: {download: {href: string; header?: Record<string, string>}}}[]
    }
    const {href, header} = objects[0]?.actions.download ?? {href: ''}
    expect(header).toBeUndefined()
    const {pathname, hostname} = new URL(href)
    const got = await door.request({path: pathname, handle: task.handle, headers: {host: hostname}})
    expect({status: got.status, same: got.body.toString() === content}).toEqual({status: 200, same: true})
    expect((await batch('upload', 'a'.repeat(64))).status).toBe(403)
  })

  it('the token is nowhere but at Gitea', () => {
    const traced = {handle: task.handle, env: {GIT_TRACE: '1', GIT_TRACE_CURL: '1', GIT_TRACE_PACKET: '1'}}
    const {stdout, stderr} = door.gitAs(traced, 'agent', 'fetch', 'origin')
    for (const text of [stdout, stderr, door.log, JSON.stringify(door.journal())])
      expect(text.includes(forge.token)).toBe(false)
  })
})
