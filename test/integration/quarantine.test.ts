import {existsSync, readdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {processRunner} from '../../core/process.js'
import {listBranches} from '../../tasks/git/branches.js'
import type {LocalRepository} from '../../tasks/git/git-command.js'
import {push} from '../../tasks/git/push.js'
import {receive} from '../../tasks/git/quarantine.js'
import {GitSandbox} from '../support/git-sandbox.js'
import {localFarEnd} from '../support/local-far-end.js'

let box: GitSandbox
let local: LocalRepository

beforeEach(() => {
  box = new GitSandbox()
  box.init('far.git', '--bare')
  box.init('home')
  box.commit('far.git', 'main', 'readme', 'one')
  local = {runner: processRunner, directory: box.path('home'), env: box.env}
})
afterEach(() => box.remove())

const packs = () => readdirSync(box.path('home/.git/objects/pack')).filter((name) => name.endsWith('.pack'))
const leftovers = () => readdirSync(box.path('home/.git/objects')).filter((name) => name.startsWith('tmp_'))

describe('listing', () => {
  it('names branches and HEAD, nothing else', async () => {
    const tip = box.commit('far.git', 'fix/login', 'a', 'a')
    box.git('far.git', 'tag', 'v1', tip)
    box.git('far.git', 'update-ref', 'refs/notes/x', tip)
    const far = await listBranches(local, localFarEnd(box.path('far.git')))
    expect(far.head).toBe('main')
    expect(far.branches.map(({branch}) => branch)).toEqual(['fix/login', 'main'])
  })

  it('leaves out names that would drive a terminal or a command line', async () => {
    const tip = box.git('far.git', 'rev-parse', 'main')
    for (const name of ['-d', 'evil\u202etxt', 'ok'])
      writeFileSync(box.path(`far.git/refs/heads/${name}`), `${tip}\n`)
    const far = await listBranches(local, localFarEnd(box.path('far.git')))
    expect(far.branches.map(({branch}) => branch)).toEqual(['main', 'ok'])
  })
})

describe('receiving', () => {
  it('hands the objects over and writes no ref', async () => {
    const tip = box.commit('far.git', 'work', 'a', 'a')
    const {keeps} = await receive(local, localFarEnd(box.path('far.git')), [tip])
    expect(box.git('home', 'cat-file', '-t', tip)).toBe('commit')
    expect(box.git('home', 'for-each-ref')).toBe('')
    expect(packs()).toHaveLength(1)
    expect(keeps).toHaveLength(1)
    expect(existsSync(keeps[0]!)).toBe(true)
    expect(leftovers()).toEqual([])
    expect(box.git('home', 'fsck', '--strict', tip)).toBe('')
    expect(existsSync(box.path('home/.git/FETCH_HEAD'))).toBe(false)
  })

  it('asks only for what is missing', async () => {
    const content = 'x'.repeat(200_000)
    box.commit('far.git', 'main', 'big', content)
    box.git('home', 'fetch', '-q', box.path('far.git'), 'main:refs/heads/old')
    const tip = box.commit('far.git', 'main', 'small', 'y')
    await receive(local, localFarEnd(box.path('far.git')), [tip])
    expect(box.git('home', 'cat-file', '-p', `${tip}:small`)).toBe('y')
    const [pack = ''] = packs().filter((name) =>
      box
        .git('home', 'verify-pack', '-v', `.git/objects/pack/${name.replace('.pack', '.idx')}`)
        .includes(tip),
    )
    const listed = box.git('home', 'verify-pack', '-v', `.git/objects/pack/${pack.replace('.pack', '.idx')}`)
    expect(listed.split('\n').filter((line) => /^[0-9a-f]{40} /.test(line))).toHaveLength(3)
  })

  it('works into a shallow repository', async () => {
    box.commit('far.git', 'main', 'two', 'two')
    box.git('.', 'clone', '-q', '--depth', '1', `file://${box.path('far.git')}`, 'shallow')
    const tip = box.commit('far.git', 'main', 'three', 'three')
    await receive({...local, directory: box.path('shallow')}, localFarEnd(box.path('far.git')), [tip])
    expect(box.git('shallow', 'cat-file', '-p', `${tip}:three`)).toBe('three')
  })

  it('works into a linked work tree and with a hostile folder name', async () => {
    const odd = 'ho"me: a\\b'
    box.init(odd)
    box.commit(odd, 'main', 'x', 'x')
    box.git(odd, 'worktree', 'add', '-q', '-b', 'other', box.path('linked'))
    const tip = box.commit('far.git', 'main', 'three', 'three')
    await receive({...local, directory: box.path('linked')}, localFarEnd(box.path('far.git')), [tip])
    expect(box.git(odd, 'cat-file', '-p', `${tip}:three`)).toBe('three')
  })

  it.each([
    ['a .git entry', '40000 .git\0', 'hasDotgit'],
    ['a parent entry', '40000 ..\0', 'hasDotdot'],
    ['a full path', '100644 a/b\0', 'fullPathname'],
  ])('takes nothing when a tree has %s', async (_name, entry, finding) => {
    const target = entry.startsWith('40000')
      ? box.git('far.git', 'rev-parse', 'main^{tree}')
      : box.git('far.git', 'rev-parse', 'main:readme')
    const raw = Buffer.concat([Buffer.from(entry), Buffer.from(target, 'hex')])
    const tree = box.gitWith(
      'far.git',
      {input: raw},
      'hash-object',
      '--literally',
      '-t',
      'tree',
      '-w',
      '--stdin',
    )
    const commit = box.git('far.git', 'commit-tree', tree, '-m', 'hostile')
    box.git('far.git', 'update-ref', 'refs/heads/hostile', commit)
    await expect(receive(local, localFarEnd(box.path('far.git')), [commit])).rejects.toMatchObject({
      code: 'GIT_QUARANTINE',
      message: expect.stringContaining(finding) as unknown,
    })
    expect(() => box.git('home', 'cat-file', '-t', commit)).toThrow()
    expect(packs()).toEqual([])
    expect(leftovers()).toEqual([])
  })

  it('takes nothing when .gitmodules names an option or a command', async () => {
    const tip = box.commit(
      'far.git',
      'sub',
      '.gitmodules',
      '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch\n',
    )
    await expect(receive(local, localFarEnd(box.path('far.git')), [tip])).rejects.toMatchObject({
      code: 'GIT_QUARANTINE',
    })
    expect(packs()).toEqual([])
  })

  it('refuses a branch that is no commit', async () => {
    const blob = box.git('far.git', 'rev-parse', 'main:readme')
    await expect(receive(local, localFarEnd(box.path('far.git')), [blob])).rejects.toMatchObject({
      code: 'GIT_QUARANTINE',
    })
    expect(packs()).toEqual([])
  })

  it('says what the far end said when it fails', async () => {
    await expect(receive(local, localFarEnd(box.path('nowhere')), ['a'.repeat(40)])).rejects.toMatchObject({
      code: 'GIT_FAR_END',
      message: expect.stringContaining('does not appear to be a git repository') as unknown,
    })
    await expect(receive(local, localFarEnd(box.path('far.git')), ['--upload-pack=x'])).rejects.toMatchObject(
      {
        code: 'GIT_OBJECT_ID',
      },
    )
  })

  it('executes nothing that a repository or a user names', async () => {
    const mark = box.path('executed')
    const command = `touch ${mark}`
    const names = [
      'pre-receive',
      'post-checkout',
      'reference-transaction',
      'post-merge',
      'fsmonitor-watchman',
    ]
    for (const name of names)
      writeFileSync(join(box.path('home/.git/hooks'), name), `#!/bin/sh\n${command}\n`, {mode: 0o755})
    for (const key of [
      'core.fsmonitor',
      'core.sshCommand',
      'core.alternateRefsCommand',
      'uploadpack.packObjectsHook',
      'remote.cage.uploadpack',
    ])
      box.git('home', 'config', key, command)
    const tip = box.commit('far.git', 'main', 'more', 'more')
    await receive(local, localFarEnd(box.path('far.git')), [tip])
    expect(box.git('home', 'cat-file', '-t', tip)).toBe('commit')
    expect(existsSync(mark)).toBe(false)
  })
})

describe('pushing', () => {
  it('reports each ref', async () => {
    const tip = box.commit('home', 'main', 'own', 'own')
    box.commit('home', 'topic', 'own', 'topic')
    const far = localFarEnd(box.path('far.git'))
    const result = await push(local, far, [
      'refs/heads/main:refs/heads/main',
      'refs/heads/topic:refs/heads/topic',
    ])
    expect(result).toEqual([{ref: 'refs/heads/main', reason: 'fetch first'}, {ref: 'refs/heads/topic'}])
    expect(await push(local, far, ['+refs/heads/main:refs/heads/main'])).toEqual([{ref: 'refs/heads/main'}])
    expect(box.git('far.git', 'rev-parse', 'main')).toBe(tip)
    expect(await push(local, far, [':refs/heads/topic'])).toEqual([{ref: 'refs/heads/topic'}])
  })

  it('passes the far end’s words on', async () => {
    box.commit('home', 'topic', 'own', 'topic')
    const hook = '#!/bin/sh\nprintf "cage: \\033]52;c;eA==\\007 no\\n" >&2\nexit 1\n'
    writeFileSync(box.path('far.git/hooks/pre-receive'), hook, {mode: 0o755})
    let said = ''
    const result = await push(
      local,
      localFarEnd(box.path('far.git')),
      ['refs/heads/topic:refs/heads/topic'],
      {
        onMessage: (chunk) => (said += chunk.toString()),
      },
    )
    expect(result).toEqual([{ref: 'refs/heads/topic', reason: 'pre-receive hook declined'}])
    expect(said).toContain('remote: cage: ')
  })

  it('fails with the far end’s reason', async () => {
    box.commit('home', 'topic', 'own', 'topic')
    await expect(
      push(local, localFarEnd(box.path('nowhere')), ['refs/heads/topic:refs/heads/topic']),
    ).rejects.toMatchObject({code: 'GIT_FAR_END'})
  })
})
