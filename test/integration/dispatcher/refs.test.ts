import {afterAll, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'

let door: TestDispatcher
let task: TestTask
let other: TestTask
let before: Record<string, string>

/** Attacks on refs: judged by the repository's own refs, each beside a push that must work. */
beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  task = door.task('fix')
  other = door.task('other')
  door.clone(other, 'theirs')
  door.box.git('theirs', 'checkout', '-q', '-b', 'other')
  door.box.commit('theirs', 'other', 'theirs.txt', 'theirs\n')
  expect(door.gitAs(other, 'theirs', 'push', '-q', 'origin', 'other').code).toBe(0)
  door.clone(task, 'agent')
  door.box.git('agent', 'checkout', '-q', '-b', 'fix')
})
afterAll(() => door.stop())
beforeEach(() => {
  before = door.refs()
})

let commits = 0
const commit = () => door.box.commit('agent', 'fix', `file${++commits}.txt`, `content ${commits}\n`)
const push = (...args: string[]) => door.gitAs(task, 'agent', 'push', ...args)

function expectRefused(args: string[], reason: RegExp): void {
  const tip = commit()
  const {code, stderr} = push(...args)
  expect({args, code}).toEqual({args, code: 1})
  expect(stderr).toMatch(reason)
  expect(door.refs()).toEqual(before)
  expect(door.has(tip)).toBe(false)
  // the control: the same commit goes where it may
  expect(push('origin', 'fix').code).toBe(0)
  expect(door.refs()).toEqual({...before, 'refs/heads/fix': tip})
  before = door.refs()
}

describe('GIT-1: the base branch', () => {
  it.each([['fix:main'], ['HEAD:main'], ['HEAD:refs/heads/main'], ['+HEAD:main']])(
    '%s does not move it',
    (spec) => {
      expectRefused(['origin', spec], /cage: \[ref\].*not the branch of this task/)
    },
  )

  it('does not move by --force, --all or --mirror', () => {
    door.box.git('agent', 'branch', '-f', 'main', 'fix')
    door.box.git('agent', 'checkout', '-q', 'fix')
    expectRefused(['--force', 'origin', 'HEAD:main'], /not the branch of this task/)
    door.box.commit('agent', 'main', 'evil.txt', 'evil\n')
    expectRefused(['--all', 'origin'], /not the branch of this task/)
    expectRefused(['--mirror', 'origin'], /cage: \[ref\]/)
    door.box.git('agent', 'branch', '-f', 'main', 'origin/main')
  })
})

describe('GIT-2: several updates in one push', () => {
  it('refuses all of them, whatever the order', () => {
    expectRefused(['origin', 'fix:fix', 'HEAD:main'], /another ref of this push was refused/)
    expectRefused(['origin', 'HEAD:main', 'fix:fix'], /not the branch of this task/)
    expectRefused(['--atomic', 'origin', 'fix:fix', '+HEAD:other'], /not the branch of this task/)
  })
})

describe('GIT-3 and GIT-9: deletion, force and other namespaces', () => {
  it.each([
    [[':main']],
    [[':other']],
    [['--delete', 'other']],
    [['--delet', 'other']],
    [['--delete', 'fix']],
  ])('deletes nothing by %j', (args) => {
    push('origin', 'fix')
    before = door.refs()
    const {code} = push('origin', ...args)
    expect(code).toBe(1)
    expect(door.refs()).toEqual(before)
  })

  it.each([
    'refs/pull/1/head',
    'refs/notes/commits',
    'refs/replace/0000000000000000000000000000000000000001',
    'refs/for/main',
    'refs/tags/v1.0.0',
    'refs/heads/fix/x',
    'refs/heads/FIX',
    'refs/heads/Fix',
    'refs/changes/01/1/1',
    'refs/cage/x',
  ])('%s is not written', (ref) => expectRefused(['origin', `HEAD:${ref}`], /cage: \[ref\]/))

  it("does not write another task's branch", () => {
    expectRefused(['origin', '+HEAD:other'], /not the branch of this task/)
  })

  it('does not move a branch backwards', () => {
    const tip = commit()
    expect(push('origin', 'fix').code).toBe(0)
    const {code, stderr} = push('--force', 'origin', 'HEAD~1:fix')
    expect(code).toBe(1)
    expect(stderr).toMatch(/\[force\].*not a fast-forward/)
    expect(stderr).toMatch(/next: run git fetch/)
    expect(door.refs()['refs/heads/fix']).toBe(tip)
  })

  it('refuses HEAD and tells why in words', () => {
    expectRefused(['origin', 'HEAD:HEAD'], /cage: \[ref\]|unable to|invalid/)
  })
})

describe('what a grant allows is allowed', () => {
  it('force, delete and a tag prefix', () => {
    const free = door.task('free', {}, {force: true, delete: true, tags: ['refs/tags/agent/*']})
    door.clone(free, 'free')
    door.box.git('free', 'checkout', '-q', '-b', 'free')
    const first = door.box.commit('free', 'free', 'a', 'a\n')
    const run = (...args: string[]) => door.gitAs(free, 'free', 'push', 'origin', ...args)
    expect(run('free').code).toBe(0)
    const rewritten = door.box.git(
      'free',
      'commit-tree',
      `${first}^{tree}`,
      '-p',
      'origin/main',
      '-m',
      'again',
    )
    expect(run(`+${rewritten}:refs/heads/free`).code).toBe(0)
    expect(door.refs()['refs/heads/free']).toBe(rewritten)
    door.box.git('free', 'tag', '-a', '-m', 'a release', 'agent/1', rewritten)
    expect(run('agent/1').code).toBe(0)
    expect(door.refs()['refs/tags/agent/1']).toBe(door.box.git('free', 'rev-parse', 'agent/1'))
    expect(run('HEAD:refs/tags/release').code).toBe(1)
    expect(run('--delete', 'free').code).toBe(0)
    expect(door.refs()['refs/heads/free']).toBeUndefined()
    expect(run('--delete', 'main').code).toBe(1)
    expect(door.refs()['refs/heads/main']).toBe(before['refs/heads/main'])
  })
})

describe('names', () => {
  it('conflicting with an existing branch are refused in words', () => {
    const nested = door.task('nested', {branch: 'main/sub'})
    const {code, stderr} = door.gitAs(nested, 'agent', 'push', 'origin', 'HEAD:refs/heads/main/sub')
    expect(code).toBe(1)
    expect(stderr).toMatch(/name conflicts with an existing branch/)
    expect(door.refs()).toEqual(before)
    door.hosted('fsck', '--full', '--connectivity-only')
  })

  it('with slashes and letters of the world work', () => {
    const wide = door.task('wide', {branch: 'feature/grüße-日本'})
    expect(door.gitAs(wide, 'agent', 'push', 'origin', 'HEAD:refs/heads/feature/grüße-日本').code).toBe(0)
    expect(Object.keys(door.refs())).toContain('refs/heads/feature/grüße-日本')
  })
})

describe('the journal', () => {
  it('says what was refused and what was done', () => {
    const records = door.journal({task: 'fix'})
    const denied = records.filter(({decision}) => decision === 'deny')
    expect(denied.length).toBeGreaterThan(10)
    expect(denied[0]).toMatchObject({
      phase: 'decision',
      op: 'push',
      principal: 'task',
      ruleId: ['git.push.refs'],
    })
    const intents = records.filter(({phase}) => phase === 'intent').map(({request}) => request)
    const outcomes = records.filter(({phase}) => phase === 'outcome').map(({request}) => request)
    expect(outcomes).toEqual(intents)
  })
})
