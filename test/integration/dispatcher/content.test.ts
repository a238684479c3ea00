import {generateKeyPairSync} from 'node:crypto'
import {readFileSync, readdirSync} from 'node:fs'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {fingerprintsOf} from '../../../scan/exact.js'
import {PIECE_STEP} from '../../../scan/scanner.js'
import {TestDispatcher} from '../../support/dispatcher.js'
import {Pushes} from '../../support/pushes.js'
import {sampleSecret} from '../../support/secret-sample.js'

let door: TestDispatcher
let base: string
let run = 0
let branch: string
let pushes: Pushes

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
  pushes = new Pushes(door, door.task(branch), branch)
  door.box.git('agent', 'update-ref', `refs/heads/${branch}`, base)
})
afterEach(() => {
  expect(door.quarantined()).toEqual([])
  expect(door.log).not.toContain(token)
})

const git = (...args: string[]) => door.box.git('agent', ...args)
const lastRecord = () => door.journal({task: branch}).at(-1)
const blob = (content: string | Buffer) => door.box.blob('agent', content)
const commitOf = (
  ...parts: [entries: string[], parents: string[], by?: {message?: string; author?: string}]
) => door.box.commitOf('agent', ...parts)

/** What is refused for a secret shows it nowhere. */
function refused(reason: RegExp, ...args: string[]): string {
  const stderr = pushes.refused(reason, ...args)
  expect(stderr).not.toContain(token)
  expect(JSON.stringify(door.journal({task: branch}))).not.toContain(token)
  return stderr
}

describe('GIT-14: secrets', () => {
  it('in the 12th commit of 20, removed again in the 13th', () => {
    for (let n = 1; n <= 20; n++)
      pushes.commit('config.js', n === 12 ? `const key = "${token}"\n` : `const n = ${n}\n`)
    const stderr = refused(/\[secret\] .* in "config.js" line 1 \(value not shown\)/)
    expect(stderr).toMatch(/secret found: /)
    expect(stderr).toMatch(/next: take it out of every commit/)
    expect(stderr).toMatch(/request [0-9A-HJKMNP-TV-Z]{26}/)
    expect(lastRecord()).toMatchObject({decision: 'deny', commits: 20, findings: [{type: 'blob', line: 1}]})
  })

  it('in a blob reachable only from a merge parent', () => {
    const main = pushes.commit('a.txt', 'a\n')
    const side = commitOf([`100644 blob ${blob(`x\n\ntoken: ${token}\n`)}\thidden.txt`], [base])
    pushes.pointTo(git('commit-tree', `${main}^{tree}`, '-p', main, '-p', side, '-m', 'merge, ours'))
    refused(/\[secret\].*"hidden.txt" line 3/)
    pushes.pointTo(git('commit-tree', `${main}^{tree}`, '-p', main, '-p', base, '-m', 'merge, ours'))
    pushes.accepted()
  })

  it('in a commit message, an author, a file name', () => {
    const tree = [`100644 blob ${blob('x\n')}\tx`]
    pushes.pointTo(commitOf(tree, [base], {message: `see ${token}`}))
    refused(/\[secret\].*author or message of commit/)
    pushes.pointTo(commitOf(tree, [base], {message: 'fine', author: token}))
    refused(/\[secret\].*author or message of commit/)
    pushes.pointTo(commitOf([`100644 blob ${blob('x\n')}\t${token}`], [base]))
    refused(/\[secret\].*in a file name/)
    pushes.pointTo(commitOf(tree, [base]))
    pushes.accepted()
  })

  it('in a tag message and in the name of a tag', () => {
    pushes.task = door.task(`${branch}-tags`, {branch}, {tags: ['refs/tags/agent/*']})
    git('tag', '-a', '-m', `key ${token}`, `agent/${branch}`, base)
    refused(/\[secret\].*message of tag/, `agent/${branch}`)
    const {stderr} = pushes.push(`${base}:refs/tags/agent/${token}`)
    expect(stderr).toMatch(/\[secret\] in the name of a ref/)
    expect(stderr.split('\n').filter((line) => line.startsWith('remote:') && line.includes(token))).toEqual(
      [],
    )
    expect(JSON.stringify(door.journal())).not.toContain(token)
    git('tag', '-a', '-m', 'fine', `agent/${branch}-2`, base)
    pushes.accepted(`agent/${branch}-2`)
  })

  it('base64, in binary content, and in a file that other scanners skip by name', () => {
    pushes.commit('package-lock.json', `"${token}"`)
    refused(/\[secret\]/)
    pushes.pointTo(
      commitOf(
        [
          `100644 blob ${blob(Buffer.concat([Buffer.alloc(64), Buffer.from(token), Buffer.alloc(64)]))}\tx.png`,
        ],
        [base],
      ),
    )
    refused(/\[secret\].*"x.png"/)
    pushes.pointTo(
      commitOf([`100644 blob ${blob(Buffer.from(`token=${token}\n`).toString('base64'))}\tdata`], [base]),
    )
    refused(/\[secret\].*"data"/)
    pushes.pointTo(commitOf([`100644 blob ${blob(`token = x // gitleaks:allow\n`)}\tdata`], [base]))
    pushes.accepted()
  })

  it('deep in a long file, with its line, also where one piece of it ends', () => {
    const line = `${'padding '.repeat(15)}pad\n`
    const lines = (count: number) => line.repeat(count)
    const step = Math.floor(PIECE_STEP / line.length)
    pushes.commit('long.txt', `${lines(step - 1)}${token}\n${lines(2 * step)}${token}\n${lines(10)}`)
    const stderr = refused(/\[secret\]/)
    const found = [...stderr.matchAll(/"long.txt" line (\d+)/g)].map((match) => Number(match[1]))
    expect([...new Set(found)].sort((a, b) => a - b)).toEqual([step, 3 * step + 1])
  })

  it('warn where the grant says so', () => {
    pushes.commit('key.txt', `${token}\n`)
    pushes.task = door.task(`${branch}-warn`, {branch, secrets: {onFinding: 'warn'}})
    expect(pushes.accepted()).toMatch(/cage: \[secret\] warning: .*"key.txt" line 1/)
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
    pushes.commit(path, 'x\n')
    pushes.commit('harmless.txt', 'x\n')
    refused(/\[path\] .*this path may not be changed by a task/)
    expect(lastRecord()).toMatchObject({decision: 'deny', reason: [expect.stringContaining('[path]')]})
  })

  it('in a commit that a later one takes back', () => {
    pushes.commit('.github/workflows/x.yml', 'x\n')
    pushes.pointTo(git('commit-tree', `${base}^{tree}`, '-p', branch, '-m', 'gone again'))
    refused(/\[path\]/)
  })

  it('taken over from upstream by a merge is no change, an evil merge is one', () => {
    const person = door.box.commit('home', 'main', '.github/workflows/ci.yml', 'on: push\n')
    expect(door.asOperator('home', 'push', 'cage::shop', 'main').code).toBe(0)
    door.gitAs(pushes.task, 'agent', 'fetch', '-q', 'origin')
    const own = pushes.commit('own.txt', 'own\n')
    const merged = door.box.git('agent', 'merge-tree', '--write-tree', own, person)
    pushes.pointTo(git('commit-tree', merged, '-p', own, '-p', person, '-m', 'merge main'))
    pushes.accepted()
    const evil = pushes.commit('.github/workflows/ci.yml', 'on: evil\n')
    pushes.pointTo(
      git('commit-tree', `${evil}^{tree}`, '-p', `${branch}~1`, '-p', person, '-m', 'evil merge'),
    )
    refused(/\[path\].*"\.github\/workflows\/ci\.yml"/)
  })

  it('as a symbolic link or a submodule above or at the path', () => {
    pushes.pointTo(commitOf([`120000 blob ${blob('elsewhere')}\t.github`], [base]))
    refused(/\[path\] "\.github"/)
    pushes.pointTo(commitOf([`160000 commit ${'1'.repeat(40)}\tvendor`], [base]))
    refused(/\[path\] "vendor": submodule/)
    pushes.pointTo(commitOf([`120000 blob ${blob('/etc/passwd')}\tlink`], [base]))
    refused(/\[path\] "link": symbolic link/)
    pushes.pointTo(commitOf([`120000 blob ${blob('a/../../x')}\tlink`], [base]))
    refused(/\[path\] "link": symbolic link/)
    pushes.pointTo(commitOf([`120000 blob ${blob('README.md')}\tlink`], [base]))
    pushes.accepted()
  })

  it('lists what a reviewer should see', () => {
    pushes.commit('CLAUDE.md', 'read me\n')
    pushes.accepted()
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
    pushes.commit('mine.txt', 'mine\n')
    pushes.task = withAuthor('deny')
    pushes.accepted()
    const tree = git('rev-parse', `${branch}^{tree}`)
    for (const role of ['AUTHOR', 'COMMITTER']) {
      const env = {[`GIT_${role}_EMAIL`]: 'boss@example.com'}
      const forged = door.box.gitWith('agent', {env}, 'commit-tree', '-p', branch, '-m', 'forged', tree)
      const above = git('commit-tree', '-p', forged, '-m', 'above', tree)
      git('update-ref', `refs/heads/${branch}`, above)
      const stderr = refused(/\[author\] commit [0-9a-f]{10} is not by/)
      expect(stderr).toContain('(commit by somebody else)')
      expect(stderr).not.toContain('boss@example.com')
      git('update-ref', `refs/heads/${branch}`, `${above}~2`)
    }
  })

  it('is known also of a commit that ends with its head', () => {
    pushes.task = withAuthor('deny')
    const tree = git('rev-parse', `${branch}^{tree}`)
    const bare = (who: string) => {
      const people = ['author', 'committer'].map((role) => `${role} P <${who}> 1700000000 +0000\n`)
      const input = `tree ${tree}\nparent ${base}\n${people.join('')}`
      return door.box.gitWith('agent', {input}, 'hash-object', '-t', 'commit', '-w', '--stdin')
    }
    git('update-ref', `refs/heads/${branch}`, bare('boss@example.com'))
    refused(/\[author\] commit [0-9a-f]{10} is not by/)
    git('update-ref', `refs/heads/${branch}`, bare(email()))
    pushes.accepted()
  })

  it('only warns where the grant says that, and is nobody’s business otherwise', () => {
    const env = {GIT_AUTHOR_EMAIL: 'boss@example.com'}
    const tree = git('rev-parse', `${branch}^{tree}`)
    git(
      'update-ref',
      `refs/heads/${branch}`,
      door.box.gitWith('agent', {env}, 'commit-tree', '-p', branch, '-m', 'x', tree),
    )
    pushes.task = withAuthor('warn')
    expect(pushes.accepted()).toMatch(/cage: \[author\] warning: commit/)
    git(
      'update-ref',
      `refs/heads/${branch}`,
      door.box.gitWith('agent', {env}, 'commit-tree', '-p', branch, '-m', 'y', tree),
    )
    pushes.task = door.task(branch)
    expect(pushes.accepted()).not.toContain('[author]')
  })
})

describe('what only looks like a secret by its name', () => {
  const password = `password = "${sampleSecret('<a62:32>')}"`

  it('is pushed with a warning and a record, the value nowhere', () => {
    pushes.commit('settings.ini', `${password}\n`)
    const stderr = pushes.accepted()
    expect(stderr).toContain('[secret] warning: generic-assignment in "settings.ini" line 1')
    const intent = door.journal({task: branch}).find(({phase}) => phase === 'intent')
    expect(intent).toMatchObject({findings: [{rule: 'generic-assignment', kind: 'generic', line: 1}]})
    for (const text of [stderr, JSON.stringify(intent)]) expect(text).not.toContain(password.slice(12, -1))
  })

  it('in any number hides no secret, in one file or in many', () => {
    const flood = Array.from({length: 300}, (_, n) => `password = "${sampleSecret('<a62:24>')}${n}"`).join(
      '\n',
    )
    pushes.commit('settings.ini', `${flood}\ntoken: ${token}\n`)
    refused(/github-token/)
    git('update-ref', `refs/heads/${branch}`, base)
    for (let file = 0; file < 4; file++) pushes.commit(`settings-${file}.ini`, `${flood}\n# ${file}\n`)
    pushes.commit('zz.txt', `${token}\n`)
    refused(/github-token/)
  })
})

describe('a value that cage itself handed out', () => {
  const value = 'plain looking words 4711'
  const put = (issued: unknown) => door.control({op: 'document.put', part: pushes.task.part, issued})

  it.each([
    ['as it is', value],
    ['base64', Buffer.from(`x${value}y`).toString('base64')],
    ['hex', Buffer.from(value).toString('hex')],
    ['reversed', Buffer.from(value).reverse().toString()],
  ])('%s is refused by name, also after a restart, and nothing of it is kept', async (_, text) => {
    pushes.commit('notes.txt', `see ${text} there\n`)
    expect(put(fingerprintsOf([{id: 'model', value}])).code).toBe(0)
    refused(/exact:model in "notes.txt"/)
    await door.kill('git')
    door.startGit()
    await door.ready()
    refused(/exact:model/)
    const kept = readdirSync(`${door.volume}/issued`).map((name) =>
      readFileSync(`${door.volume}/issued/${name}`, 'utf8'),
    )
    expect(kept.join()).not.toContain(value)
    // the control: the same push is fine once the value is nobody's
    expect(door.control({op: 'document.remove', task: branch}).code).toBe(0)
    expect(readdirSync(`${door.volume}/issued`)).toEqual([])
    pushes.task = door.task(branch)
    pushes.accepted()
  })

  it.each([
    ['the key of an app', (pem: string) => pem],
    ['one line of it', (pem: string) => `${pem.split('\n')[9] ?? ''}\n`],
  ])('%s is refused by name, and the refusal does not show it', (_, written) => {
    const {privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048})
    const pem = privateKey.export({type: 'pkcs1', format: 'pem'}).toString()
    const text = written(pem)
    pushes.commit('part.txt', text)
    expect(put(fingerprintsOf([{id: 'github.key', value: pem}])).code).toBe(0)
    const said = refused(/exact:github.key in "part.txt"/)
    for (const line of pem.split('\n').filter((one) => one.length === 64)) {
      expect(said).not.toContain(line)
      expect(JSON.stringify(door.journal())).not.toContain(line)
    }
    expect(door.control({op: 'document.remove', task: branch}).code).toBe(0)
    pushes.task = door.task(branch)
    if (text.includes('BEGIN')) refused(/private-key/)
    else pushes.accepted()
  })

  it('is refused for every task of the project', () => {
    const other = door.task('other')
    expect(
      door.control({op: 'document.put', part: other.part, issued: fingerprintsOf([{id: 'key', value}])}).code,
    ).toBe(0)
    pushes.commit('notes.txt', `${value}\n`)
    refused(/exact:key/)
    expect(put([{id: 'x'}]).code).toBe(1)
    door.control({op: 'document.remove', task: 'other'})
  })
})
