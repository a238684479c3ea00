import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {bigRepository} from '../../support/big-repository.js'
import {TestDispatcher} from '../../support/dispatcher.js'
import {sampleSecret} from '../../support/secret-sample.js'

let door: TestDispatcher
const token = sampleSecret('ghp_<crc:36>')

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
})
afterAll(() => door.stop())

const push = (...args: string[]) => door.asOperator('home', 'push', 'cage::shop', ...args)

describe("the person's own git", () => {
  it('pushes, creates, forces, deletes branches and tags', () => {
    const tip = door.box.commit('home', 'main', 'two', 'two\n')
    door.box.git('home', 'branch', 'feature/a', tip)
    door.box.git('home', 'tag', '-a', '-m', 'one', 'v1', tip)
    expect(push('main', 'feature/a', 'v1')).toMatchObject({code: 0})
    expect(door.refs()).toMatchObject({
      'refs/heads/main': tip,
      'refs/heads/feature/a': tip,
      'refs/tags/v1': door.box.git('home', 'rev-parse', 'v1'),
    })
    expect(push('+main~1:feature/a')).toMatchObject({code: 0})
    expect(door.refs()['refs/heads/feature/a']).toBe(door.box.git('home', 'rev-parse', 'main~1'))
    expect(push('--delete', 'feature/a', 'v1')).toMatchObject({code: 0})
    expect(Object.keys(door.refs())).toEqual(['refs/heads/main'])
    expect(push('--delete', 'main')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('cannot be deleted'),
    })
    expect(push('main:refs/notes/x')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('only branches and tags'),
    })
    expect(door.refs()['refs/heads/main']).toBe(tip)
  })

  it('fetches with protocol version 2 and 0', () => {
    for (const version of ['0', '2']) {
      const {code} = door.asOperator(
        '.',
        '-c',
        `protocol.version=${version}`,
        'clone',
        '-q',
        '--bare',
        'cage::shop.git',
        `copy${version}`,
      )
      expect(code).toBe(0)
      expect(door.box.git(`copy${version}`, 'rev-parse', 'main')).toBe(door.refs()['refs/heads/main'])
    }
    expect(door.asOperator('home', 'ls-remote', '--symref', 'cage::shop').stdout).toMatch(
      /^ref: refs\/heads\/main\tHEAD/,
    )
  })

  it('is warned about secrets and told about them in the journal without the value', () => {
    const tip = door.box.commit('home', 'main', 'key.txt', `key=${token}\n`)
    const {code, stderr} = push('main')
    expect({code, stderr}).toEqual({
      code: 0,
      stderr: expect.stringMatching(/cage: \[secret\] warning: .* in "key.txt" line 1/),
    })
    expect(door.refs()['refs/heads/main']).toBe(tip)
    const records = door.journal().filter(({principal}) => principal === 'operator')
    expect(records.at(-1)).toMatchObject({findings: [{type: 'blob'}]})
    expect(records.at(-1)).not.toHaveProperty('task')
    expect(JSON.stringify(records)).not.toContain(token)
  })

  it("is told when a branch belongs to a task, and the task's next push has to fetch first", () => {
    const task = door.task('owned')
    door.clone(task, 'owned')
    const first = door.box.commit('owned', 'owned', 'a', 'a\n')
    expect(door.gitAs(task, 'owned', 'push', '-q', 'origin', 'owned').code).toBe(0)
    door.asOperator('home', 'fetch', '-q', 'cage::shop', 'refs/heads/owned:refs/heads/owned')
    const mine = door.box.commit('home', 'owned', 'b', 'b\n')
    expect(push('owned')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('is the branch of task owned'),
    })
    expect(door.refs()['refs/heads/owned']).toBe(mine)
    door.box.commit('owned', 'owned', 'c', 'c\n')
    expect(door.gitAs(task, 'owned', 'push', 'origin', 'owned').code).toBe(1)
    expect(door.box.git('home', 'merge-base', first, mine)).toBe(first)
  })

  it('gets clear words for a repository that is not there and for nonsense', () => {
    expect(door.asOperator('home', 'push', 'cage::nothing', 'main').stderr).toMatch(
      /there is no repository "nothing"/,
    )
    expect(door.asOperator('home', 'ls-remote', 'cage::../../etc').stderr).toMatch(/there is no repository/)
  })

  it('may push history that git finds odd but harmless', () => {
    const tree = door.box.git('home', 'rev-parse', 'main^{tree}')
    const odd = `tree ${tree}\nauthor A <a@b> 1600000000 +051800\ncommitter A <a@b> 1600000000 +0000\n\nodd zone\n`
    const id = door.box.gitWith(
      'home',
      {input: odd},
      'hash-object',
      '-t',
      'commit',
      '-w',
      '--stdin',
      '--literally',
    )
    expect(push(`${id}:refs/heads/odd`)).toMatchObject({code: 0})
  })
})

describe('seeding', () => {
  it('a history of several thousand commits, and nothing else of the person', async () => {
    door.control({op: 'repository.init', repository: 'big', defaultBranch: 'main'})
    await bigRepository(door.box.path('big'), {commits: 4000})
    door.box.commit('big', 'private', 'diary.txt', 'nobody reads this\n')
    const {code, stderr} = door.asOperator('big', 'push', 'cage::big', 'main')
    expect({code, stderr}).toEqual({code: 0, stderr: expect.stringContaining('[new branch]')})
    const tip = door.box.git('big', 'rev-parse', 'main')
    expect(JSON.parse(door.control({op: 'refs', repository: 'big'}).stdout)).toEqual({
      repository: 'big.git',
      head: 'refs/heads/main',
      refs: {'refs/heads/main': tip},
    })
    const task = door.task('history', {repository: 'big.git'})
    expect(door.gitAs(task, '.', 'clone', '-q', '--bare', door.url('big.git'), 'from-big').code).toBe(0)
    expect(door.box.git('from-big', 'rev-list', '--count', 'main')).toBe(
      door.box.git('big', 'rev-list', '--count', 'main'),
    )
  })

  it('GIT-22: by object id only what was pushed can be fetched', () => {
    const task = door.task('thief', {repository: 'big.git'})
    const secret = door.box.git('big', 'rev-parse', 'private')
    door.box.init('thief')
    const wanted = door.gitAs(task, 'thief', 'fetch', door.url('big.git'), secret)
    expect(wanted).toMatchObject({code: 128, stderr: expect.stringMatching(/not our ref|unadvertised/)})
    const public_ = door.box.git('big', 'rev-parse', 'main~5')
    expect(door.gitAs(task, 'thief', 'fetch', '-q', door.url('big.git'), public_).code).toBe(0)
  })

  it('a repository with sha256 ids', () => {
    door.control({op: 'repository.init', repository: 'modern', defaultBranch: 'main', objectFormat: 'sha256'})
    door.box.init('modern', '--object-format=sha256')
    door.box.commit('modern', 'main', 'x', 'x\n')
    expect(door.asOperator('modern', 'push', 'cage::modern', 'main')).toMatchObject({code: 0})
    const task = door.task('sha', {repository: 'modern.git'})
    door.gitAs(task, '.', 'clone', '-q', door.url('modern.git'), 'sha')
    door.box.commit('sha', 'sha', 'y', 'y\n')
    expect(door.gitAs(task, 'sha', 'push', '-q', 'origin', 'sha')).toMatchObject({code: 0})
  })
})
