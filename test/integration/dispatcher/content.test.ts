import {readFileSync, readdirSync} from 'node:fs'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {fingerprintsOf} from '../../../scan/exact.js'
import {PIECE_STEP} from '../../../scan/scanner.js'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {sampleSecret} from '../../support/secret-sample.js'

let door: TestDispatcher
let task: TestTask
let base: string
let run = 0
let branch: string

const token = sampleSecret('ghp_<crc:36>')

/** Attacks by content: judged by refs and objects of the repository, each test on a branch of its own. */
beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  door.clone(door.task('reader'), 'agent')
  base = door.box.git('agent', 'rev-parse', 'origin/main')
})
afterAll(() => door.stop())
beforeEach(() => {
  branch = `work-${++run}`
  task = door.task(branch)
  door.box.git('agent', 'update-ref', `refs/heads/${branch}`, base)
})
afterEach(() => {
  expect(door.quarantined()).toEqual([])
  expect(door.log).not.toContain(token)
})

const git = (...args: string[]) => door.box.git('agent', ...args)
const commit = (file: string, content: string) => door.box.commit('agent', branch, file, content)
const push = (...args: string[]) =>
  door.gitAs(task, 'agent', 'push', 'origin', ...(args.length > 0 ? args : [branch]))
const lastRecord = () => door.journal({task: branch}).at(-1)

function expectRefused(reason: RegExp, ...args: string[]): string {
  const before = door.refs()
  const {code, stderr} = push(...args)
  expect({code, stderr}).toEqual({code: 1, stderr: expect.stringMatching(reason)})
  expect(door.refs()).toEqual(before)
  expect(stderr).not.toContain(token)
  expect(JSON.stringify(door.journal({task: branch}))).not.toContain(token)
  return stderr
}

function expectAccepted(...args: string[]): string {
  const {code, stderr} = push(...args)
  expect({code, stderr}).toEqual({code: 0, stderr: expect.any(String)})
  return stderr
}

/** A commit from parts: tree entries as text for mktree, any parents, any message and author. */
function makeCommit(entries: string[], parents: string[], message = 'made', author = 'A Person'): string {
  const tree = door.box.gitWith('agent', {input: `${entries.join('\n')}\n`}, 'mktree', '--missing')
  const env = {GIT_AUTHOR_NAME: author}
  return door.box.gitWith(
    'agent',
    {env},
    'commit-tree',
    tree,
    '-m',
    message,
    ...parents.flatMap((id) => ['-p', id]),
  )
}
const blob = (content: string | Buffer) =>
  door.box.gitWith('agent', {input: content}, 'hash-object', '-w', '--stdin')
const pointTo = (id: string) => git('update-ref', `refs/heads/${branch}`, id)

describe('GIT-14: secrets', () => {
  it('in the 12th commit of 20, removed again in the 13th', () => {
    for (let n = 1; n <= 20; n++)
      commit('config.js', n === 12 ? `const key = "${token}"\n` : `const n = ${n}\n`)
    const stderr = expectRefused(/\[secret\] .* in "config.js" line 1 \(value not shown\)/)
    expect(stderr).toMatch(/secret found: /)
    expect(stderr).toMatch(/next: take it out of every commit/)
    expect(stderr).toMatch(/request [0-9A-HJKMNP-TV-Z]{26}/)
    expect(lastRecord()).toMatchObject({decision: 'deny', commits: 20, findings: [{type: 'blob', line: 1}]})
  })

  it('in a blob reachable only from a merge parent', () => {
    const main = commit('a.txt', 'a\n')
    const side = makeCommit([`100644 blob ${blob(`x\n\ntoken: ${token}\n`)}\thidden.txt`], [base])
    pointTo(git('commit-tree', `${main}^{tree}`, '-p', main, '-p', side, '-m', 'merge, ours'))
    expectRefused(/\[secret\].*"hidden.txt" line 3/)
    pointTo(git('commit-tree', `${main}^{tree}`, '-p', main, '-p', base, '-m', 'merge, ours'))
    expectAccepted()
  })

  it('in a commit message, an author, a file name', () => {
    const tree = [`100644 blob ${blob('x\n')}\tx`]
    pointTo(makeCommit(tree, [base], `see ${token}`))
    expectRefused(/\[secret\].*author or message of commit/)
    pointTo(makeCommit(tree, [base], 'fine', token))
    expectRefused(/\[secret\].*author or message of commit/)
    pointTo(makeCommit([`100644 blob ${blob('x\n')}\t${token}`], [base]))
    expectRefused(/\[secret\].*in a file name/)
    pointTo(makeCommit(tree, [base]))
    expectAccepted()
  })

  it('in a tag message and in the name of a tag', () => {
    task = door.task(`${branch}-tags`, {branch}, {tags: ['refs/tags/agent/*']})
    git('tag', '-a', '-m', `key ${token}`, `agent/${branch}`, base)
    expectRefused(/\[secret\].*message of tag/, `agent/${branch}`)
    const stderr = push(`${base}:refs/tags/agent/${token}`).stderr
    expect(stderr).toMatch(/\[secret\] in the name of a ref/)
    expect(stderr.split('\n').filter((line) => line.startsWith('remote:') && line.includes(token))).toEqual(
      [],
    )
    expect(JSON.stringify(door.journal())).not.toContain(token)
    git('tag', '-a', '-m', 'fine', `agent/${branch}-2`, base)
    expectAccepted(`agent/${branch}-2`)
  })

  it('base64, in binary content, and in a file that other scanners skip by name', () => {
    commit('package-lock.json', `"${token}"`)
    expectRefused(/\[secret\]/)
    pointTo(
      makeCommit(
        [
          `100644 blob ${blob(Buffer.concat([Buffer.alloc(64), Buffer.from(token), Buffer.alloc(64)]))}\tx.png`,
        ],
        [base],
      ),
    )
    expectRefused(/\[secret\].*"x.png"/)
    pointTo(
      makeCommit([`100644 blob ${blob(Buffer.from(`token=${token}\n`).toString('base64'))}\tdata`], [base]),
    )
    expectRefused(/\[secret\].*"data"/)
    pointTo(makeCommit([`100644 blob ${blob(`token = x // gitleaks:allow\n`)}\tdata`], [base]))
    expectAccepted()
  })

  it('deep in a long file, with its line, also where one piece of it ends', () => {
    const line = `${'padding '.repeat(15)}pad\n`
    const lines = (count: number) => line.repeat(count)
    const step = Math.floor(PIECE_STEP / line.length)
    commit('long.txt', `${lines(step - 1)}${token}\n${lines(2 * step)}${token}\n${lines(10)}`)
    const stderr = expectRefused(/\[secret\]/)
    const found = [...stderr.matchAll(/"long.txt" line (\d+)/g)].map((match) => Number(match[1]))
    expect([...new Set(found)].sort((a, b) => a - b)).toEqual([step, 3 * step + 1])
  })

  it('warn where the grant says so', () => {
    commit('key.txt', `${token}\n`)
    task = door.task(`${branch}-warn`, {branch, secrets: {onFinding: 'warn'}})
    expect(expectAccepted()).toMatch(/cage: \[secret\] warning: .*"key.txt" line 1/)
  })
})

describe('GIT-13: protected paths', () => {
  it.each([
    '.github/workflows/x.yml',
    '.GitHub/workflows/x.yml',
    '.gitlab-ci.yml',
    'Jenkinsfile',
    'sub/.gitattributes',
    '.circleci/config.yml',
  ])('%s', (path) => {
    commit(path, 'x\n')
    commit('harmless.txt', 'x\n')
    expectRefused(/\[path\] .*this path may not be changed by a task/)
    expect(lastRecord()).toMatchObject({decision: 'deny', reason: [expect.stringContaining('[path]')]})
  })

  it('in a commit that a later one takes back', () => {
    commit('.github/workflows/x.yml', 'x\n')
    pointTo(git('commit-tree', `${base}^{tree}`, '-p', branch, '-m', 'gone again'))
    expectRefused(/\[path\]/)
  })

  it('taken over from upstream by a merge is no change, an evil merge is one', () => {
    const person = door.box.commit('home', 'main', '.github/workflows/ci.yml', 'on: push\n')
    expect(door.asOperator('home', 'push', 'cage::shop', 'main').code).toBe(0)
    door.gitAs(task, 'agent', 'fetch', '-q', 'origin')
    const own = commit('own.txt', 'own\n')
    const merged = door.box.git('agent', 'merge-tree', '--write-tree', own, person)
    pointTo(git('commit-tree', merged, '-p', own, '-p', person, '-m', 'merge main'))
    expectAccepted()
    const evil = commit('.github/workflows/ci.yml', 'on: evil\n')
    pointTo(git('commit-tree', `${evil}^{tree}`, '-p', `${branch}~1`, '-p', person, '-m', 'evil merge'))
    expectRefused(/\[path\].*"\.github\/workflows\/ci\.yml"/)
  })

  it('as a symbolic link or a submodule above or at the path', () => {
    pointTo(makeCommit([`120000 blob ${blob('elsewhere')}\t.github`], [base]))
    expectRefused(/\[path\] "\.github"/)
    pointTo(makeCommit([`160000 commit ${'1'.repeat(40)}\tvendor`], [base]))
    expectRefused(/\[path\] "vendor": submodule/)
    pointTo(makeCommit([`120000 blob ${blob('/etc/passwd')}\tlink`], [base]))
    expectRefused(/\[path\] "link": symbolic link/)
    pointTo(makeCommit([`120000 blob ${blob('a/../../x')}\tlink`], [base]))
    expectRefused(/\[path\] "link": symbolic link/)
    pointTo(makeCommit([`120000 blob ${blob('README.md')}\tlink`], [base]))
    expectAccepted()
  })

  it('lists what a reviewer should see', () => {
    commit('CLAUDE.md', 'read me\n')
    expectAccepted()
    expect(door.journal({task: branch}).find(({phase}) => phase === 'intent')).toMatchObject({
      flagged: ['CLAUDE.md'],
    })
  })
})

describe('who made a commit', () => {
  const email = () => door.box.git('agent', 'log', '-1', '--format=%ae', 'origin/main')
  const withAuthor = (action: 'warn' | 'deny') =>
    door.task(
      `${branch}-${action}`,
      {branch},
      {refs: [`refs/heads/${branch}`], author: {email: email(), action}},
    )

  it('is the author of the task alone where the grant says so, in every commit and both roles', () => {
    commit('mine.txt', 'mine\n')
    task = withAuthor('deny')
    expectAccepted()
    const tree = git('rev-parse', `${branch}^{tree}`)
    for (const role of ['AUTHOR', 'COMMITTER']) {
      const env = {[`GIT_${role}_EMAIL`]: 'boss@example.com'}
      const forged = door.box.gitWith('agent', {env}, 'commit-tree', '-p', branch, '-m', 'forged', tree)
      const above = git('commit-tree', '-p', forged, '-m', 'above', tree)
      git('update-ref', `refs/heads/${branch}`, above)
      const stderr = expectRefused(/\[author\] commit [0-9a-f]{10} is not by/)
      expect(stderr).toContain('(commit by somebody else)')
      expect(stderr).not.toContain('boss@example.com')
      git('update-ref', `refs/heads/${branch}`, `${above}~2`)
    }
  })

  it('is known also of a commit that ends with its head', () => {
    task = withAuthor('deny')
    const tree = git('rev-parse', `${branch}^{tree}`)
    const bare = (who: string) => {
      const people = ['author', 'committer'].map((role) => `${role} P <${who}> 1700000000 +0000\n`)
      const input = `tree ${tree}\nparent ${base}\n${people.join('')}`
      return door.box.gitWith('agent', {input}, 'hash-object', '-t', 'commit', '-w', '--stdin')
    }
    git('update-ref', `refs/heads/${branch}`, bare('boss@example.com'))
    expectRefused(/\[author\] commit [0-9a-f]{10} is not by/)
    git('update-ref', `refs/heads/${branch}`, bare(email()))
    expectAccepted()
  })

  it('only warns where the grant says that, and is nobody’s business otherwise', () => {
    const env = {GIT_AUTHOR_EMAIL: 'boss@example.com'}
    const tree = git('rev-parse', `${branch}^{tree}`)
    git(
      'update-ref',
      `refs/heads/${branch}`,
      door.box.gitWith('agent', {env}, 'commit-tree', '-p', branch, '-m', 'x', tree),
    )
    task = withAuthor('warn')
    expect(expectAccepted()).toMatch(/cage: \[author\] warning: commit/)
    git(
      'update-ref',
      `refs/heads/${branch}`,
      door.box.gitWith('agent', {env}, 'commit-tree', '-p', branch, '-m', 'y', tree),
    )
    task = door.task(branch)
    expect(expectAccepted()).not.toContain('[author]')
  })
})

describe('what only looks like a secret by its name', () => {
  const password = `password = "${sampleSecret('<a62:32>')}"`

  it('is pushed with a warning and a record, the value nowhere', () => {
    commit('settings.ini', `${password}\n`)
    const stderr = expectAccepted()
    expect(stderr).toContain('[secret] warning: generic-assignment in "settings.ini" line 1')
    const intent = door.journal({task: branch}).find(({phase}) => phase === 'intent')
    expect(intent).toMatchObject({findings: [{rule: 'generic-assignment', kind: 'generic', line: 1}]})
    for (const text of [stderr, JSON.stringify(intent)]) expect(text).not.toContain(password.slice(12, -1))
  })

  it('in any number hides no secret, in one file or in many', () => {
    const flood = Array.from({length: 300}, (_, n) => `password = "${sampleSecret('<a62:24>')}${n}"`).join(
      '\n',
    )
    commit('settings.ini', `${flood}\ntoken: ${token}\n`)
    expectRefused(/github-token/)
    git('update-ref', `refs/heads/${branch}`, base)
    for (let file = 0; file < 4; file++) commit(`settings-${file}.ini`, `${flood}\n# ${file}\n`)
    commit('zz.txt', `${token}\n`)
    expectRefused(/github-token/)
  })
})

describe('a value that cage itself handed out', () => {
  const value = 'plain looking words 4711'
  const put = (issued: unknown) => door.control({op: 'document.put', part: task.part, issued})

  it.each([
    ['as it is', value],
    ['base64', Buffer.from(`x${value}y`).toString('base64')],
    ['hex', Buffer.from(value).toString('hex')],
    ['reversed', Buffer.from(value).reverse().toString()],
  ])('%s is refused by name, also after a restart, and nothing of it is kept', async (_, text) => {
    commit('notes.txt', `see ${text} there\n`)
    expect(put(fingerprintsOf([{id: 'model', value}])).code).toBe(0)
    expectRefused(/exact:model in "notes.txt"/)
    await door.kill('git')
    door.startGit()
    await door.ready()
    expectRefused(/exact:model/)
    const kept = readdirSync(`${door.volume}/issued`).map((name) =>
      readFileSync(`${door.volume}/issued/${name}`, 'utf8'),
    )
    expect(kept.join()).not.toContain(value)
    // the control: the same push is fine once the value is nobody's
    expect(door.control({op: 'document.remove', task: branch}).code).toBe(0)
    expect(readdirSync(`${door.volume}/issued`)).toEqual([])
    task = door.task(branch)
    expectAccepted()
  })

  it('is refused for every task of the project', () => {
    const other = door.task('other')
    expect(
      door.control({op: 'document.put', part: other.part, issued: fingerprintsOf([{id: 'key', value}])}).code,
    ).toBe(0)
    commit('notes.txt', `${value}\n`)
    expectRefused(/exact:key/)
    expect(put([{id: 'x'}]).code).toBe(1)
    door.control({op: 'document.remove', task: 'other'})
  })
})
