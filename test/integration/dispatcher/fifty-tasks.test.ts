import {readFileSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import type {Finished} from '../../support/dispatcher-processes.js'
import {GitUpstream} from '../../support/git-upstream.js'

const TASKS = 50
const patient = 400_000

let forge: GitUpstream
let door: TestDispatcher
let tasks: TestTask[]

beforeAll(async () => {
  forge = await GitUpstream.start()
  forge.create()
  forge.box.init('home')
  for (let n = 0; n < 20; n++) forge.box.commit('home', 'main', `file-${n}.txt`, `${n}\n`.repeat(200))
  forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
  door = await TestDispatcher.startBefore(forge)
  tasks = Array.from({length: TASKS}, (_, n) => door.upstreamTask(`task-${n}`))
}, patient)
afterAll(async () => {
  await door.stop()
  await forge.stop()
})

const together = (act: (task: TestTask, n: number) => Promise<Finished>) => Promise.all(tasks.map(act))
const failed = (results: readonly Finished[]) => results.filter(({code}) => code !== 0)
const tip = (where: string, ref = 'HEAD') => door.box.git(where, 'rev-parse', ref)
const neighbour = (n: number) => tasks[(n + 1) % TASKS]?.name ?? ''
const commitEverywhere = (what: string) =>
  tasks.map(({name}) => door.box.commit(name, name, `${name}.txt`, `${name} ${what}\n`))
/** MiB of both processes */
const memory = () =>
  (['gate', 'git'] as const)
    .map((which) =>
      Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${door.pid(which)}/status`, 'utf8'))?.[1]),
    )
    .reduce((sum, kib) => sum + kib / 1024, 0)
const counted = (lines: readonly string[]) =>
  Object.fromEntries(
    [...new Set(lines)].map((line) => [
      line.replace('/org/app.git/', ''),
      lines.filter((one) => one === line).length,
    ]),
  )

describe('fifty tasks of one dispatcher, all at once', () => {
  it(
    'clone',
    async () => {
      expect(
        failed(
          await together((task) => door.gitAsAsync(task, '.', 'clone', '-q', door.forgeUrl(), task.name)),
        ),
      ).toEqual([])
      expect(new Set(tasks.map(({name}) => tip(name)))).toEqual(new Set([forge.refs()['refs/heads/main']]))
    },
    patient,
  )

  it(
    'push for the first time: the upstream is copied once for all of them',
    async () => {
      const tips = commitEverywhere('first')
      forge.seen()
      expect(
        failed(await together((task) => door.gitAsAsync(task, task.name, 'push', '-q', 'origin', task.name))),
      ).toEqual([])
      const refs = forge.refs()
      expect(tasks.map(({name}) => refs[`refs/heads/${name}`])).toEqual(tips)
      const {'POST git-upload-pack': copies = 0, ...rest} = counted(forge.seen())
      // One fetch is two requests to upload-pack: what there is, and the objects.
      expect(copies).toBeLessThanOrEqual(2)
      expect(rest).toEqual({
        'GET info/refs?service=git-upload-pack': 1,
        'GET info/refs?service=git-receive-pack': TASKS,
        'POST git-receive-pack': TASKS,
      })
    },
    patient,
  )

  it(
    'reach their own branch and no other',
    async () => {
      const before = forge.refs()
      commitEverywhere('astray')
      const results = await together((task, n) =>
        door.gitAsAsync(task, task.name, 'push', '-q', '--force', 'origin', `${task.name}:${neighbour(n)}`),
      )
      expect(results.filter(({code}) => code === 0)).toEqual([])
      for (const {stderr} of results) expect(stderr).toContain('not the branch of this task')
      expect(forge.refs()).toEqual(before)
    },
    patient,
  )

  it(
    'push again, two requests each, and fetch what others did; memory stays',
    async () => {
      const before = memory()
      const tips = commitEverywhere('second')
      forge.seen()
      expect(
        failed(await together((task) => door.gitAsAsync(task, task.name, 'push', '-q', 'origin', task.name))),
      ).toEqual([])
      expect(counted(forge.seen())).toEqual({
        'GET info/refs?service=git-receive-pack': TASKS,
        'POST git-receive-pack': TASKS,
      })
      const refs = forge.refs()
      expect(tasks.map(({name}) => refs[`refs/heads/${name}`])).toEqual(tips)
      const moved = forge.box.commit('home', 'main', 'moved.txt', 'moved\n')
      forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
      expect(
        failed(await together((task) => door.gitAsAsync(task, task.name, 'fetch', '-q', 'origin'))),
      ).toEqual([])
      expect(tasks.map(({name}) => tip(name, 'origin/main'))).toEqual(tasks.map(() => moved))
      expect(tasks.map(({name}, n) => tip(name, `origin/${neighbour(n)}`))).toEqual([
        ...tips.slice(1),
        tips[0],
      ])
      expect(memory() / before).toBeLessThan(1.5)
      expect(door.quarantined()).toEqual([])
    },
    patient,
  )

  it('leave a record each, of every push and of every refusal', () => {
    const journal = door.journal()
    for (const {name} of tasks) {
      const own = journal.filter(({task, op}) => task === name && op === 'push')
      expect(own.filter(({phase}) => phase === 'outcome').map(({decision}) => decision)).toEqual([
        'allow',
        'allow',
      ])
      expect(own.filter(({decision}) => decision === 'deny')).toHaveLength(1)
    }
    forge.git('org/app.git', 'fsck', '--full', '--strict')
  })
})
