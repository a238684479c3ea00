import {mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {CageError} from '../../../core/errors.js'
import {lineHash} from '../../../proxy/audit/record.js'
import {auditKeeper, keptFile, refuseLoss} from '../../../tasks/audit/keep.js'
import {readAudit} from '../../../tasks/audit/read.js'
import type {TaskContext} from '../../../tasks/context.js'
import {newTask} from '../../../tasks/new.js'
import {deletePod} from '../../../tasks/remove.js'
import {findStored} from '../../../tasks/store.js'
import {TaskWorld} from '../../support/task-world.js'

/** A chain of records, one for each reason. */
function ledger(...reasons: string[]): string {
  let prev = '0'.repeat(64)
  return reasons
    .map((reason, index) => {
      const line = JSON.stringify({v: 1, seq: index + 1, time: '2030-01-01T00:00:00Z', prev, reason})
      prev = lineHash(line)
      return `${line}\n`
    })
    .join('')
}

let world: TaskWorld
let directory: string
let task: string
/** what lies on the ledger's volume; undefined = it cannot be read */
let onVolume: string | undefined

const readable = () =>
  world.context({
    volumes: {
      ...world.context().volumes,
      read: (_name, file, out) => {
        if (onVolume === undefined || file !== 'audit.jsonl') return Promise.reject(new Error('not mounted'))
        out.write(onVolume)
        return Promise.resolve()
      },
    },
  })
const losses: string[] = []
const tell = (name: string, why: string): void => {
  losses.push(`${name}: ${why}`)
}
const keep = async (context: TaskContext, onLoss = tell) =>
  auditKeeper(context, directory, onLoss)(await findStored(context, task), () => deletePod(context, task))
const podIsThere = () => world.pieces(task).includes(`Pod task-${task}`)
const kept = async () => readFileSync(keptFile(directory, await findStored(world.context(), task)), 'utf8')
const read = (context: TaskContext) =>
  readAudit(context, world.dispatcher(), {directory, heads: {}}, {task}).then(({records, problems}) => ({
    reasons: records.map(({record}) => record['reason']),
    problems,
  }))

beforeEach(async () => {
  world = new TaskWorld()
  directory = mkdtempSync(join(tmpdir(), 'cage-audit-'))
  losses.length = 0
  onVolume = ledger('one', 'two')
  const request = {branch: 'fix/login', agent: 'shell', args: [], existing: false, unattended: false}
  task = await newTask(world.context(), world.project, world.dispatcher(), request)
})
afterEach(() => rmSync(directory, {recursive: true}))

describe('the audit of a task that ends', () => {
  it('is read off its volume after the pod, whatever goes on in the pod', async () => {
    world.sidecar = () => 134
    await keep(readable())
    expect(podIsThere()).toBe(false)
    expect(await kept()).toBe(ledger('one', 'two'))
    expect(losses).toEqual([])
    expect(readdirSync(directory)).toHaveLength(1)
  })

  it('is read out of the sidecar before the pod ends, where only a pod can look into a volume', async () => {
    world.sidecar = ({stdout, argv}) => {
      stdout(argv.includes('-f') ? ledger('one', 'two', 'last') : ledger('one', 'two'))
      return 0
    }
    await keep(world.context())
    expect(podIsThere()).toBe(false)
    expect(await kept()).toBe(ledger('one', 'two', 'last'))
  })

  it('keeps the pod when it is not readable and the person did not say that it may be lost', async () => {
    world.sidecar = () => 134
    const error = await keep(world.context(), refuseLoss).catch((caught: unknown) => caught)
    expect(error).toMatchObject({code: 'AUDIT_UNREADABLE'})
    expect((error as CageError).hints.join(' ')).toContain('--force')
    expect(podIsThere()).toBe(true)
  })

  it.each(['volume', 'sidecar'])(
    'ends all the same when its loss is accepted: unreadable %s',
    async (way) => {
      world.sidecar = () => 134
      onVolume = undefined
      await keep(way === 'volume' ? readable() : world.context())
      expect(podIsThere()).toBe(false)
      expect(losses).toEqual([expect.stringContaining(way === 'volume' ? 'not mounted' : 'exit code 134')])
      expect(readdirSync(directory)).toEqual([])
    },
  )

  it('never replaces a copy by a shorter one, and leaves an unfinished line out', async () => {
    const file = keptFile(directory, await findStored(world.context(), task))
    writeFileSync(file, ledger('one', 'two', 'three'))
    await keep(readable())
    expect(await kept()).toBe(ledger('one', 'two', 'three'))
    onVolume = `${ledger('one', 'two', 'three', 'four')}{"v":1,"seq":5`
    await keep(readable())
    expect(await kept()).toBe(ledger('one', 'two', 'three', 'four'))
  })
})

describe('the audit of a task that is there', () => {
  it('is read off its volume, also when its pod has vanished', async () => {
    expect(await read(readable())).toEqual({reasons: ['one', 'two'], problems: []})
    await deletePod(world.context(), task)
    expect(await read(readable())).toEqual({reasons: ['one', 'two'], problems: []})
  })

  it('is read out of the sidecar where only a pod can look into a volume', async () => {
    world.sidecar = ({stdout}) => {
      stdout(ledger('live'))
      return 0
    }
    expect(await read(world.context())).toEqual({reasons: ['live'], problems: []})
  })

  it('is the last copy when there is nothing newer, and says plainly when there is none', async () => {
    await deletePod(world.context(), task)
    const {reasons, problems} = await read(world.context())
    expect(reasons).toEqual([])
    expect(problems).toEqual([expect.stringContaining('only a pod can look into its volume')])
    writeFileSync(keptFile(directory, await findStored(world.context(), task)), ledger('kept'))
    expect(await read(world.context())).toEqual({reasons: ['kept'], problems: []})
    onVolume = ''
    expect(await read(readable())).toEqual({reasons: ['kept'], problems: []})
  })

  it('tells why when its volume cannot be read', async () => {
    onVolume = undefined
    expect((await read(readable())).problems).toEqual([expect.stringContaining('not mounted')])
  })
})
