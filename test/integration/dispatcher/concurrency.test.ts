import {execFileSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {connect} from 'node:tls'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher} from '../../support/dispatcher.js'

let door: TestDispatcher

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
})
afterAll(() => door.stop())

const peakMemory = (which: 'gate' | 'git') =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${door.pid(which)}/status`, 'utf8'))?.[1]) * 1024

describe('many at once', () => {
  it('ten tasks push their own branches, each ends where it should', async () => {
    const tasks = Array.from({length: 10}, (_, n) => door.task(`task-${n}`))
    const tips = tasks.map((task) => {
      door.clone(task, task.name)
      for (let n = 0; n < 3; n++) door.box.commit(task.name, task.name, `f${n}`, `${task.name} ${n}\n`)
      return door.box.git(task.name, 'rev-parse', task.name)
    })
    const results = await Promise.all(
      tasks.map((task) => door.gitAsAsync(task, task.name, 'push', '-q', 'origin', task.name)),
    )
    expect(results.map(({code}) => code)).toEqual(tasks.map(() => 0))
    const refs = door.refs()
    expect(tasks.map(({name}) => refs[`refs/heads/${name}`])).toEqual(tips)
    door.hosted('fsck', '--full', '--strict')
    expect(door.quarantined()).toEqual([])
  })

  it('of several pushes to one branch exactly one wins, the others are told to fetch', async () => {
    const task = door.task('race')
    const clones = Array.from({length: 5}, (_, n) => `race-${n}`)
    const tips = clones.map((name) => {
      door.clone(task, name)
      return door.box.commit(name, 'race', `${name}.txt`, `${name}\n`)
    })
    const results = await Promise.all(
      clones.map((name) => door.gitAsAsync(task, name, 'push', 'origin', 'race')),
    )
    const winners = results.flatMap(({code}, index) => (code === 0 ? [tips[index]] : []))
    expect(winners).toEqual([door.refs()['refs/heads/race']])
    for (const {code, stderr} of results)
      if (code !== 0) expect(stderr).toMatch(/fetch first|moved it|fast-forward|rejected/)
    const done = door
      .journal({task: 'race'})
      .filter(({phase, decision}) => phase === 'outcome' && decision === 'allow')
    expect(done).toHaveLength(1)
  })

  it('a client that stalls in the middle of its push holds up nobody', async () => {
    const slow = door.task('slow')
    const sockets = await Promise.all(
      Array.from(
        {length: 12},
        () =>
          new Promise<ReturnType<typeof connect>>((resolve) => {
            const socket = connect(
              {host: '127.0.0.1', port: door.port, servername: 'git.cage.internal', ca: door.certificate},
              () => {
                const command = `${'0'.repeat(40)} ${'1'.repeat(40)} refs/heads/slow\0report-status`
                socket.write(
                  `POST /shop.git/git-receive-pack HTTP/1.1\r\nhost: git.cage.internal\r\nx-cage-handle: ${slow.handle}\r\n` +
                    `content-type: application/x-git-receive-pack-request\r\ncontent-length: 9999\r\n\r\n` +
                    `${(command.length + 4).toString(16).padStart(4, '0')}${command}0000PACK\0\0\0\x02`,
                  () => resolve(socket),
                )
              },
            )
            socket.on('error', () => undefined)
          }),
      ),
    )
    const quick = door.task('quick')
    door.clone(quick, 'quick')
    const tip = door.box.commit('quick', 'quick', 'q', 'q\n')
    expect(door.gitAs(quick, 'quick', 'push', '-q', 'origin', 'quick').code).toBe(0)
    expect(door.refs()['refs/heads/quick']).toBe(tip)
    for (const socket of sockets) socket.destroy()
  })
})

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
