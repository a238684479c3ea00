import {execFileSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher} from '../../support/dispatcher.js'

let door: TestDispatcher

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
})
afterAll(() => door.stop())

const peakMemory = (which: 'gate' | 'git') =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${door.pid(which)}/status`, 'utf8'))?.[1]) * 1024

describe('memory', () => {
  it('does not grow with the size of a push', () => {
    const task = door.task('large')
    door.clone(task, 'large')
    let tip = 'origin/main'
    const pushFiles = (count: number) => {
      const entries = Array.from({length: count}, (_, n) => {
        execFileSync('dd', ['if=/dev/urandom', `of=${door.box.path('noise')}`, 'bs=1M', 'count=4'], {
          stdio: 'ignore',
        })
        return `100644 blob ${door.box.git('large', 'hash-object', '-w', door.box.path('noise'))}\tnoise${n}`
      })
      const tree = door.box.gitWith('large', {input: `${entries.join('\n')}\n`}, 'mktree')
      tip = door.box.git('large', 'commit-tree', tree, '-p', tip, '-m', `${count} files`)
      const {code, stderr} = door.gitAs(task, 'large', 'push', '-q', 'origin', `${tip}:refs/heads/large`)
      expect({code, stderr}).toEqual({code: 0, stderr: ''})
      expect(door.refs()['refs/heads/large']).toBe(tip)
    }
    pushFiles(8)
    const before = {gate: peakMemory('gate'), git: peakMemory('git')}
    pushFiles(20)
    const MiB = 1024 * 1024
    expect((peakMemory('gate') - before.gate) / MiB).toBeLessThan(40)
    expect((peakMemory('git') - before.git) / MiB).toBeLessThan(120)
    expect(peakMemory('git') / MiB).toBeLessThan(400)
  })
})

describe('upkeep', () => {
  it('leaves every branch intact', async () => {
    const task = door.task('many')
    door.clone(task, 'many')
    for (let n = 0; n < 24; n++) {
      door.box.commit('many', 'many', 'n', `${n}\n`)
      expect(door.gitAs(task, 'many', 'push', '-q', 'origin', 'many').code).toBe(0)
    }
    const refs = door.refs()
    const packs = () => Number(/^packs: (\d+)/m.exec(door.hosted('count-objects', '-v'))?.[1])
    expect(packs()).toBeGreaterThan(20)
    for (let tries = 0; packs() > 20 && tries < 200; tries++)
      await new Promise((resolve) => setTimeout(resolve, 100))
    expect(packs()).toBeLessThanOrEqual(20)
    expect(door.refs()).toEqual(refs)
    door.hosted('fsck', '--full', '--strict')
    door.clone(task, 'after-upkeep')
  })
})
