import {execFileSync} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {mkdtempSync, rmdirSync, statSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {itUnless} from '../../support/when.js'

describe('a journal that cannot be written', () => {
  it('denies', async () => {
    const door = await TestDispatcher.startSeeded()
    try {
      const task = door.task('fix')
      door.clone(task, 'agent')
      const before = door.refs()
      const tip = door.box.commit('agent', 'fix', 'x', 'x\n')
      await door.kill('git')
      // One more record, that of the start, still fits.
      door.startGit({fileBytes: statSync(`${door.volume}/journal/000001.jsonl`).size + 300})
      await door.ready()
      const {code, stderr} = door.gitAs(task, 'agent', 'push', 'origin', 'fix')
      expect({code, stderr}).toEqual({
        code: 1,
        stderr: expect.stringContaining('cage: [journal] the decision cannot be recorded'),
      })
      expect(door.refs()).toEqual(before)
      await door.kill('git')
      door.startGit()
      await door.ready()
      expect(door.gitAs(task, 'agent', 'push', '-q', 'origin', 'fix').code).toBe(0)
      expect(door.refs()['refs/heads/fix']).toBe(tip)
    } finally {
      await door.stop()
    }
  })
})

describe('the share of a task', () => {
  it('is counted over all its pushes and restarts, ends with a clear refusal, and takes nothing from others', async () => {
    const door = await TestDispatcher.startSeeded()
    const limits = {packBytes: 1e8, blobBytes: 1e7, objects: 5000, commits: 500, refs: 8, seconds: 120}
    const withShare = (name: string) => door.task(name, {}, {limits: {...limits, totalBytes: 700_000}})
    const pushed = (task: TestTask, where: string) => {
      door.box.commit(where, task.name, `${++files}.bin`, randomBytes(300_000).toString('latin1'))
      return door.gitAs(task, where, 'push', 'origin', task.name)
    }
    let files = 0
    try {
      const greedy = withShare('greedy')
      door.clone(greedy, 'greedy')
      expect(pushed(greedy, 'greedy').code).toBe(0)
      await door.kill('git')
      door.startGit()
      await door.ready()
      const before = door.refs()
      const {code, stderr} = pushed(greedy, 'greedy')
      expect({code, stderr}).toEqual({
        code: 1,
        stderr: expect.stringMatching(/cage: \[share\] this task has stored \d+ bytes of the 700000/),
      })
      expect(stderr).toContain('(share of the volume is used up)')
      expect(door.refs()).toEqual(before)
      expect(door.quarantined()).toEqual([])
      const other = withShare('other')
      door.clone(other, 'other')
      expect(pushed(other, 'other').code).toBe(0)
      door.control({op: 'document.remove', task: 'greedy'})
      const again = withShare('greedy')
      expect(door.gitAs(again, 'greedy', 'push', 'origin', 'greedy').code).toBe(0)
    } finally {
      await door.stop()
    }
  })
})

describe('a full disk', () => {
  const obstacle = process.getuid?.() === 0 ? undefined : 'mounting a small disk needs root'

  itUnless(obstacle, 'refuses cleanly, harms nothing, and works again when there is room', async () => {
    const mount = mkdtempSync(join(tmpdir(), 'cage-small-disk-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m,mode=755', 'none', mount])
    let small: TestDispatcher | undefined
    try {
      small = await TestDispatcher.startSeeded({volume: mount})
      const filler = small.task('filler')
      small.clone(filler, 'filler')
      const codes: number[] = []
      let last = ''
      for (let n = 0; n < 8; n++) {
        execFileSync('dd', ['if=/dev/urandom', `of=${small.box.path('noise')}`, 'bs=1M', 'count=2'], {
          stdio: 'ignore',
        })
        const id = small.box.git('filler', 'hash-object', '-w', small.box.path('noise'))
        const tree = small.box.gitWith('filler', {input: `100644 blob ${id}\tnoise${n}\n`}, 'mktree')
        const parent = small.refs()['refs/heads/filler'] ?? 'origin/main'
        const tip = small.box.git('filler', 'commit-tree', tree, '-p', parent, '-m', `noise ${n}`)
        const {code, stderr} = small.gitAs(filler, 'filler', 'push', 'origin', `${tip}:refs/heads/filler`)
        codes.push(code)
        last = stderr
        if (code === 0) expect(small.refs()['refs/heads/filler']).toBe(tip)
        else expect(small.refs()['refs/heads/filler']).not.toBe(tip)
      }
      expect(codes[0]).toBe(0)
      expect(codes.at(-1)).toBe(1)
      expect(last).toMatch(/\[disk\] the dispatcher volume is full/)
      expect(small.quarantined()).toEqual([])
      small.hosted('fsck', '--full', '--strict')
      execFileSync('mount', ['-o', 'remount,size=64m', mount])
      const task = small.task('later')
      const tip = small.box.commit('filler', 'later', 'x', 'x\n')
      expect(small.gitAs(task, 'filler', 'push', '-q', 'origin', 'later').code).toBe(0)
      expect(small.refs()['refs/heads/later']).toBe(tip)
    } finally {
      await small?.stop()
      execFileSync('umount', ['-l', mount])
      rmdirSync(mount)
    }
  })
})
