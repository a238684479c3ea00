import {describe, expect, test} from '@jest/globals'
import type {CageError} from '../../../core/errors.js'
import {branchProblem, checkNewBranch, clashOf, taskName, type BranchContext} from '../../../policy/branch.js'

const context: BranchContext = {
  base: 'main',
  protectedBranches: ['release'],
  taskBranches: ['task/one'],
  existing: ['main', 'release', 'topic', 'dir/x'],
  mayExist: false,
}

function refusal(branch: string, over: Partial<BranchContext> = {}): string {
  try {
    checkNewBranch(branch, {...context, ...over})
  } catch (error) {
    const {code, exitCode, message} = error as CageError
    expect([code, exitCode]).toEqual(['BRANCH_REFUSED', 2])
    return message
  }
  return 'accepted'
}

describe('names', () => {
  test.each(['fix', 'feature/a', 'a.b', 'UPPER', 'ünï', 'a_b', 'x'.repeat(200), 'a/b/c', "it's", '1', 'a@b'])(
    '%s is a branch',
    (name) => expect(branchProblem(name)).toBeUndefined(),
  )
  test.each([
    '',
    '-x',
    'HEAD',
    '@',
    'a..b',
    'a b',
    'a~1',
    'a^',
    'a:b',
    'a?b',
    'a*b',
    'a[b',
    'a\\b',
    '/a',
    'a/',
    'a//b',
    '.a',
    'a/.b',
    'a.lock',
    'a.lock/b',
    'a.',
    'a@{1}',
    'a\u0000b',
    'a\u001bb',
    'a\u009bb',
    'a\u202eb',
    'refs/heads/a',
    'f'.repeat(40),
    'x'.repeat(201),
  ])('%j is not', (name) => expect(branchProblem(name)).toBeDefined())
})

describe('checkNewBranch', () => {
  test('accepts what is free', () => {
    for (const name of ['fix', 'dir/y', 'topic2', 'task/two']) expect(refusal(name)).toBe('accepted')
  })
  test.each([
    ['main', 'base'],
    ['Main', 'base'],
    ['release', 'protected'],
    ['task/one', 'another task'],
    ['topic', 'exists upstream'],
    ['Topic', 'upper and lower case'],
    ['TASK/two', 'upper and lower case'],
    ['dir', 'folder'],
    ['topic/x', 'folder'],
    ['dir/x/y', 'folder'],
    ['task', 'folder'],
    ['main/x', 'folder'],
  ])('%s: %s', (name, why) => expect(refusal(name)).toContain(why))

  test('--existing continues an upstream branch, never the base or a task', () => {
    expect(refusal('topic', {mayExist: true})).toBe('accepted')
    expect(refusal('main', {mayExist: true})).toContain('base')
    expect(refusal('task/one', {mayExist: true})).toContain('another task')
  })
})

test('clashes are symmetric', () => {
  for (const [a, b] of [
    ['a', 'a/b'],
    ['A', 'a'],
    ['A/x', 'a/y'],
    ['e\u0301', '\u00e9'],
  ] as const) {
    expect(clashOf(a, b)).toBeDefined()
    expect(clashOf(b, a)).toBeDefined()
  }
  expect(clashOf('a/x', 'a/y')).toBeUndefined()
})

describe('taskName', () => {
  test('a DNS label stays, anything else gets a hash', () => {
    expect(taskName('fix')).toBe('fix')
    expect(taskName('feature-a')).toBe('feature-a')
    expect(taskName('feature/a')).toMatch(/^feature-a-[0-9a-f]{6}$/)
    expect(taskName('ünï')).toMatch(/^n-[0-9a-f]{6}$/)
    expect(taskName('___')).toMatch(/^task-[0-9a-f]{6}$/)
  })
  test('look-alikes are different tasks with valid names', () => {
    const branches = [
      'feature/a',
      'feature-a',
      'feature_a',
      'Feature-a',
      'FEATURE/A',
      'x'.repeat(41),
      'x'.repeat(200),
      `${'a-'.repeat(30)}b`,
      'a'.repeat(40),
    ]
    const names = branches.map(taskName)
    expect(new Set(names).size).toBe(branches.length)
    for (const name of names) {
      expect(name).toMatch(/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/)
      expect(name.length).toBeLessThanOrEqual(40)
    }
  })
})
