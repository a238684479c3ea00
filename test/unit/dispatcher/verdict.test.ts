import {describe, expect, it} from '@jest/globals'
import type {Found} from '../../../dispatcher/git/content.js'
import {problemsOf, PushRefused, withoutSecrets, type Problem} from '../../../dispatcher/git/problem.js'
import {
  describeFinding,
  explain,
  judgeAge,
  judgeCommands,
  judgeFastForward,
  Names,
  reasonFor,
} from '../../../dispatcher/git/verdict.js'
import {ScanFailed, type ScanPool} from '../../../dispatcher/scan/pool.js'
import {Sheet} from '../../../dispatcher/scan/sheet.js'
import {gitGrant} from '../../support/grants.js'

const A = 'a'.repeat(40)
const B = 'b'.repeat(40)
const ZERO = '0'.repeat(40)

/** finds the word SECRET */
const scan: ScanPool = {
  scan: (texts) =>
    Promise.resolve(
      texts.map((text) =>
        Buffer.from(text).includes('SECRET')
          ? [{rule: 'word', kind: 'format', line: 1, length: 6, fingerprint: '0', sha256: '1'} as const]
          : [],
      ),
    ),
  sheet: (bytes) => new Sheet(new ArrayBuffer(bytes)),
  scanSheet: () => Promise.resolve([]),
  close: () => Promise.resolve(),
}
const broken: ScanPool = {...scan, scan: () => Promise.reject(new ScanFailed('the scanner broke'))}
const names = (...texts: string[]) => Names.check(scan, texts)
const request = (...refs: string[]) => ({
  commands: refs.map((ref) => ({old: ref.startsWith('refs/tags/') ? ZERO : A, new: B, ref})),
  capabilities: new Set<string>(),
})

describe('commands', () => {
  it('are judged by the policy, ref by ref', async () => {
    const shown = await names('refs/heads/fix', 'refs/heads/main')
    expect(judgeCommands(gitGrant(), request('refs/heads/fix'), shown)).toEqual([])
    expect(judgeCommands(gitGrant(), request('refs/heads/fix', 'refs/heads/main'), shown)).toEqual([
      {
        class: 'ref',
        message: '"refs/heads/main": not the branch of this task',
        short: 'not the branch of this task',
        ruleId: 'git.push.refs',
        ref: 'refs/heads/main',
      },
    ])
  })

  it('whose names look like secrets are refused and never shown', async () => {
    const grant = gitGrant({push: {...gitGrant().push, tags: ['refs/tags/*']}})
    const shown = await names('refs/tags/SECRET', 'refs/heads/SECRET')
    const problems = judgeCommands(grant, request('refs/tags/SECRET', 'refs/heads/SECRET'), shown)
    expect(problems.map((problem) => problem.class)).toEqual(['secret', 'ref'])
    expect(problems.map(({message, short}) => message + short).join()).not.toContain('SECRET')
  })

  it('are counted', async () => {
    const refs = Array.from({length: 9}, (_, n) => `refs/heads/x${n}`)
    expect(judgeCommands(gitGrant(), request(...refs), await names(...refs))).toMatchObject([
      {ruleId: 'limits.refs'},
    ])
  })

  it('that expect another state of the repository are told to fetch', async () => {
    const known = new Map([['refs/heads/fix', B]])
    const shown = await names('refs/heads/fix', 'refs/heads/new')
    const commands = [
      {old: A, new: B, ref: 'refs/heads/fix'},
      {old: ZERO, new: B, ref: 'refs/heads/new'},
    ]
    expect(judgeAge(commands, known, 'sha1', shown)).toMatchObject([
      {ref: 'refs/heads/fix', short: 'fetch first'},
    ])
  })

  it('that rewrite need a grant', async () => {
    const command = {old: A, new: B, ref: 'refs/heads/fix'}
    const shown = await names(command.ref)
    expect(judgeFastForward(gitGrant(), command, true, shown)).toEqual([])
    expect(judgeFastForward(gitGrant(), command, false, shown)).toMatchObject([
      {class: 'force', short: 'non-fast-forward'},
    ])
    const forced = gitGrant({push: {...gitGrant().push, force: true}})
    expect(judgeFastForward(forced, command, false, shown)).toEqual([])
  })
})

describe('words for a person', () => {
  const problem = (over: Partial<Problem>): Problem => ({
    class: 'ref',
    message: 'm',
    short: 's',
    ruleId: 'r',
    ...over,
  })

  it('say what, what next, and under which name it is recorded, in at most 20 lines', () => {
    const many = Array.from({length: 50}, (_, n) => problem({class: 'path', message: `path ${n}`}))
    const lines = explain(
      [...many, problem({}), problem({class: 'secret'}), problem({class: 'size'})],
      'fix/a',
      '01REQUEST',
    )
    expect(lines.length).toBeLessThanOrEqual(20)
    expect(lines[0]).toBe('[path] path 0')
    expect(lines).toContain('... and 41 more')
    expect(lines).toContain('next: push only the branch of this task: git push origin HEAD:fix/a')
    expect(lines.at(-1)).toBe('request 01REQUEST')
  })

  it('give each ref its own reason, or that of the whole push, or name the others', () => {
    const problems = [problem({ref: 'a', short: 'own'})]
    expect(reasonFor('a', problems)).toBe('own')
    expect(reasonFor('b', problems)).toBe('another ref of this push was refused')
    expect(reasonFor('b', [...problems, problem({short: 'all'})])).toBe('all')
  })

  it('describe a finding by place, never by value', async () => {
    const found = (over: Partial<Found>): Found => ({
      rule: 'github-token',
      kind: 'format',
      line: 3,
      length: 40,
      fingerprint: 'f',
      sha256: '1',
      type: 'blob',
      object: A,
      path: 'src/a.js',
      ...over,
    })
    const shown = await names('src/a.js', 'src/SECRET', 'bad\u001b[2J\u202ename')
    expect(describeFinding(found({}), shown)).toBe('github-token in "src/a.js" line 3 (value not shown)')
    expect(describeFinding(found({path: 'src/SECRET'}), shown)).toBe(
      'github-token in (a name that looks like a secret) line 3 (value not shown)',
    )
    expect(describeFinding(found({path: 'bad\u001b[2J\u202ename'}), shown)).toMatch(/^[\x20-\x7e]+$/)
    for (const type of ['tree', 'commit', 'tag'] as const)
      expect(describeFinding(found({type}), shown)).not.toContain('src')
  })

  it('hide what looks like a secret, and everything when it cannot be checked', async () => {
    const problems = [problem({message: 'about SECRET'}), problem({message: 'fine'})]
    expect((await withoutSecrets(scan, problems)).map(({message}) => message)).toEqual(['s', 'fine'])
    expect((await withoutSecrets(broken, problems)).map(({message}) => message)).toEqual(['s', 's'])
  })
})

describe('failures', () => {
  const alive = new AbortController().signal

  it.each([
    [new PushRefused([{class: 'size', message: 'm', short: 's', ruleId: 'r'}]), 'size'],
    [new ScanFailed('x'), 'scan'],
    [Object.assign(new Error('x'), {code: 'JOURNAL_FAILED'}), 'journal'],
    [Object.assign(new Error('x'), {code: 'ENOSPC'}), 'disk'],
    [Object.assign(new Error('x'), {code: 'DISK_FULL'}), 'disk'],
    [new Error('/var/lib/cage is broken'), 'internal'],
    [undefined, 'internal'],
  ] as [unknown, string][])('%s deny as %s', (error, expected) => {
    const problems = problemsOf(error ?? new Error(), alive)
    expect(problems.map((problem) => problem.class)).toEqual([expected])
    expect(problems[0]?.message).not.toContain('/var/lib')
  })

  it('of a client that has left are no failures of ours', () => {
    expect(problemsOf(new Error('x'), AbortSignal.abort())).toMatchObject([{short: 'client is gone'}])
  })
})
