import {connect} from 'node:tls'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher} from '../../support/dispatcher.js'

let door: TestDispatcher

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
})
afterAll(() => door.stop())

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

  it('two dozen fetches of one task all succeed, as a package manager makes them', async () => {
    const task = door.task('many')
    door.clone(task, 'many')
    const results = await Promise.all(
      Array.from({length: 24}, () => door.gitAsAsync(task, 'many', 'ls-remote', 'origin')),
    )
    expect(results.filter(({code}) => code !== 0)).toEqual([])
    expect(new Set(results.map(({stdout}) => stdout)).size).toBe(1)
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
