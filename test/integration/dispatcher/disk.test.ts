import {execFileSync} from 'node:child_process'
import {mkdtempSync, rmdirSync, statSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {describe, expect, it} from '@jest/globals'
import {TestDispatcher} from '../../support/dispatcher.js'
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
