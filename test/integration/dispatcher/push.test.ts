import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'

let door: TestDispatcher
let task: TestTask

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  task = door.task('fix')
  door.clone(task, 'agent')
})
afterAll(() => door.stop())

describe('the way of a task', () => {
  it('clones, commits and pushes its own branch with unmodified git', () => {
    const before = door.refs()
    door.box.git('agent', 'checkout', '-q', '-b', 'fix')
    const tip = door.box.commit('agent', 'fix', 'src/app.js', 'export const app = 2\n')
    const {code, stderr} = door.gitAs(task, 'agent', 'push', 'origin', 'fix')
    expect({code, stderr}).toEqual({code: 0, stderr: expect.stringContaining('fix -> fix')})
    expect(door.refs()).toEqual({...before, 'refs/heads/fix': tip})
    door.hosted('fsck', '--strict', '--full')
  })
})
