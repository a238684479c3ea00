import {randomBytes} from 'node:crypto'
import {readFileSync, writeFileSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'

const MIB = 1024 * 1024

let door: TestDispatcher
let task: TestTask

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  task = door.task('fix')
  door.clone(task, 'fix')
})
afterAll(() => door.stop())

async function push(files: number): Promise<void> {
  for (let n = 0; n < files; n++) writeFileSync(`${door.box.path('fix')}/${n}.bin`, randomBytes(4 * MIB))
  door.box.git('fix', 'add', '.')
  door.box.git('fix', 'commit', '-qm', 'files')
  expect(await door.gitAsAsync(task, 'fix', 'push', '-q', 'origin', 'HEAD:fix')).toMatchObject({code: 0})
}

/** the most that the process ever held, MiB */
function peak(which: 'gate' | 'git'): number {
  const status = readFileSync(`/proc/${door.pid(which)}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) / 1024
}

describe('the size of a push', () => {
  it('is not the size of memory', async () => {
    await push(1)
    const small = {gate: peak('gate'), git: peak('git')}
    for (let round = 0; round < 3; round++) await push(10)
    expect(peak('gate') / small.gate).toBeLessThan(1.3)
    expect(peak('git') / small.git).toBeLessThan(1.3)
  }, 300_000)
})
