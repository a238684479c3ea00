import {randomBytes} from 'node:crypto'
import {readFileSync, writeFileSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'

const MIB = 1024 * 1024
const FILE = 4 * MIB

let door: TestDispatcher
let task: TestTask

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  task = door.task('fix')
  door.clone(task, 'fix')
})
afterAll(() => door.stop())

async function push(files: number): Promise<void> {
  for (let n = 0; n < files; n++) writeFileSync(`${door.box.path('fix')}/${n}.bin`, randomBytes(FILE))
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
    const files = 20
    await push(files)
    // What the collector of garbage leaves lying is tens of megabytes; a process that held the pack would have grown by more.
    const half = (files * FILE) / MIB / 2
    expect(peak('gate') - small.gate).toBeLessThan(half)
    expect(peak('git') - small.git).toBeLessThan(half)
  }, 300_000)
})
