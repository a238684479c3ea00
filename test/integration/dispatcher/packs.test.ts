import {execFileSync} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {readFileSync, writeFileSync} from 'node:fs'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {TestDispatcher} from '../../support/dispatcher.js'
import {Pushes} from '../../support/pushes.js'

let door: TestDispatcher
let base: string
let run = 0
let branch: string
let pushes: Pushes

/** Attacks by what a pack is: judged by refs and objects of the repository, each test on a branch of its own. */
beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  door.clone(door.task('reader'), 'agent')
  base = door.box.git('agent', 'rev-parse', 'origin/main')
})
afterAll(() => door.stop())
beforeEach(() => {
  branch = `work-${++run}`
  pushes = new Pushes(door, door.task(branch), branch)
  door.box.git('agent', 'update-ref', `refs/heads/${branch}`, base)
})
afterEach(() => {
  expect(door.quarantined()).toEqual([])
})

const git = (...args: string[]) => door.box.git('agent', ...args)
const blob = (content: string | Buffer) => door.box.blob('agent', content)
const commitOf = (
  ...parts: [entries: string[], parents: string[], by?: {message?: string; author?: string}]
) => door.box.commitOf('agent', ...parts)

describe('GIT-11 and hostile packs', () => {
  /** a pack with exactly these objects, pushed for one command without git's own push */
  const rawPush = (objects: string[], to: string) => {
    const pack = execFileSync('git', ['-C', door.box.path('agent'), 'pack-objects', '--stdout', '-q'], {
      env: door.box.env,
      input: `${objects.join('\n')}\n`,
      maxBuffer: 1 << 28,
    })
    return sendPush(to, pack)
  }
  const sendPush = (to: string, pack: Buffer) => {
    const command = `${'0'.repeat(40)} ${to} refs/heads/${branch}\0report-status`
    const line = `${(command.length + 4).toString(16).padStart(4, '0')}${command}0000`
    return door.request({
      method: 'POST',
      path: '/shop.git/git-receive-pack',
      handle: pushes.task.handle,
      headers: {'content-type': 'application/x-git-receive-pack-request'},
      body: Buffer.concat([Buffer.from(line), pack]),
    })
  }
  const newObjects = (tip: string) =>
    git('rev-list', '--objects', tip, `^${base}`)
      .split('\n')
      .map((line) => line.split(' ')[0] ?? '')

  it('objects outside the pushed range never reach the repository', async () => {
    const tip = pushes.commit('seen.txt', 'seen\n')
    const hidden = blob('smuggled content\n')
    const {body} = await rawPush([...newObjects(tip), hidden], tip)
    expect(body.toString()).toContain(`ok refs/heads/${branch}`)
    expect(door.has(tip)).toBe(true)
    expect(door.has(hidden)).toBe(false)
    expect(door.journal({task: branch}).find(({phase}) => phase === 'intent')).toMatchObject({
      objects: 3,
      packObjects: 4,
    })
  })

  it('a pack that lacks an object is refused', async () => {
    const tip = pushes.commit('seen.txt', 'seen again\n')
    const objects = newObjects(tip)
    const {body} = await rawPush(objects.slice(0, -1), tip)
    expect(body.toString()).toMatch(/ng refs\/heads\/\S+ (missing necessary objects|pack refused)/)
    expect(door.refs()[`refs/heads/${branch}`]).toBeUndefined()
    expect((await rawPush(objects, tip)).body.toString()).toContain('ok refs/heads/')
  })

  it('broken, truncated and lying packs are refused cleanly', async () => {
    const tip = pushes.commit('seen.txt', 'content for broken packs\n')
    const input = `${newObjects(tip).join('\n')}\n`
    const pack = execFileSync('git', ['-C', door.box.path('agent'), 'pack-objects', '--stdout', '-q'], {
      env: door.box.env,
      input,
    })
    const changed = (at: number, to: number) => {
      const copy = Buffer.from(pack)
      copy[at < 0 ? copy.length + at : at] = to
      return copy
    }
    const huge = Buffer.from(pack)
    huge.writeUInt32BE(0xfffffff0, 8)
    const cases = [
      Buffer.alloc(0),
      randomBytes(3000),
      Buffer.from('PACK'),
      pack.subarray(0, pack.length - 30),
      changed(0, 0x51),
      changed(7, 9),
      changed(11, 99),
      changed(-1, (pack.at(-1) ?? 0) ^ 1),
      changed(20, (pack[20] ?? 0) ^ 0xff),
      huge,
    ]
    for (const bytes of cases) {
      const {status, body} = await sendPush(tip, bytes)
      expect({status, body: body.toString()}).toEqual({
        status: 200,
        body: expect.stringMatching(/^....unpack .*ng refs\/heads/s),
      })
      expect(body.toString()).not.toContain(door.volume)
    }
    expect(door.refs()[`refs/heads/${branch}`]).toBeUndefined()
    expect((await sendPush(tip, pack)).body.toString()).toContain('ok refs/heads/')
  })

  it('trees that would write into .git are refused', () => {
    for (const name of ['.git', '.GIT', 'git~1', '..', '.g\u200cit']) {
      const content = blob('x\n')
      const entry = Buffer.concat([Buffer.from(`100644 ${name}\0`), Buffer.from(content, 'hex')])
      writeFileSync(door.box.path('tree'), entry)
      const tree = git('hash-object', '-t', 'tree', '-w', '--literally', door.box.path('tree'))
      pushes.pointTo(git('commit-tree', tree, '-p', base, '-m', 'bad tree'))
      pushes.refused(/\[pack\] the pack was refused/)
    }
  })

  it('a branch that points to a blob or a tree is refused', () => {
    const content = blob('just a blob\n')
    const {stderr} = pushes.push(`${content}:refs/heads/${branch}`)
    expect(stderr).toMatch(/does not point to a commit|not a commit/)
    expect(door.refs()[`refs/heads/${branch}`]).toBeUndefined()
  })
})

describe('limits', () => {
  it('on the size of a file, a pack and on the number of objects and commits', () => {
    const limits = {packBytes: 400_000, blobBytes: 100_000, objects: 60, commits: 5, refs: 8, seconds: 120}
    pushes.task = door.task(`${branch}-small`, {branch}, {limits})
    pushes.pointTo(commitOf([`100644 blob ${blob('a'.repeat(100_001))}\tbig.txt`], [base]))
    pushes.refused(/\[size\] "big.txt" has 100001 bytes; the limit is 100000/)
    pushes.pointTo(commitOf([`100644 blob ${blob(randomBytes(500_000))}\tbig.bin`], [base]))
    pushes.refused(/\[size\] the pack is larger than 400000 bytes/)
    pushes.pointTo(
      commitOf(
        Array.from({length: 61}, (_, n) => `100644 blob ${blob(`${n}\n`)}\tf${n}`),
        [base],
      ),
    )
    pushes.refused(/\[size\] more than 60 new objects/)
    pushes.pointTo(base)
    for (let n = 0; n < 6; n++) pushes.commit('n.txt', `${n}\n`)
    pushes.refused(/\[size\] more than 5 new commits/)
    pushes.pointTo(`${branch}~1`)
    pushes.accepted()
  })

  /** folders in folders, each with ten of the one below: few objects, many paths */
  const folders = (levels: number): string => {
    let entry = `100644 blob ${blob('leaf\n')}`
    for (let level = 0; level < levels; level++) {
      const lines = Array.from({length: 10}, (_, n) => `${entry}\tn${n}`)
      entry = `040000 tree ${door.box.gitWith('agent', {input: `${lines.join('\n')}\n`}, 'mktree')}`
    }
    return git('commit-tree', entry.split(' ')[2] ?? '', '-p', base, '-m', 'folders')
  }

  it('on the number of changed paths, also where ten objects make a hundred million of them', async () => {
    const limits = {
      packBytes: 400_000,
      blobBytes: 100_000,
      objects: 60,
      commits: 5,
      refs: 8,
      seconds: 120,
    }
    pushes.task = door.task(`${branch}-few`, {branch}, {limits})
    pushes.pointTo(folders(3))
    pushes.refused(/\[size\] more than 240 changed paths/)
    pushes.pointTo(folders(8))
    const refused = await door.gitAsAsync(pushes.task, 'agent', 'push', 'origin', branch)
    expect(refused).toMatchObject({code: 1, stderr: expect.stringMatching(/\[size\] more than 240 changed/)})
    pushes.pointTo(folders(2))
    pushes.accepted()
  })

  it('a small pack that unfolds into gigabytes does not take the memory', async () => {
    const zeros = door.box.path('zeros')
    execFileSync('truncate', ['-s', '300M', zeros])
    const big = git('hash-object', '-w', zeros)
    pushes.pointTo(commitOf([`100644 blob ${big}\tzeros`], [base]))
    const {code, stderr} = await door.gitAsAsync(pushes.task, 'agent', 'push', 'origin', branch)
    expect({code, stderr}).toEqual({code: 1, stderr: expect.stringMatching(/\[(size|pack)\]/)})
    expect(
      Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${door.pid('git')}/status`, 'utf8'))?.[1]),
    ).toBeLessThan(400_000)
    pushes.pointTo(commitOf([`100644 blob ${blob('small')}\tzeros`], [base]))
    pushes.accepted()
  })
})
