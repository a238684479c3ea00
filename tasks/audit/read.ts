import {createReadStream} from 'node:fs'
import {readdir} from 'node:fs/promises'
import {join} from 'node:path'
import {createInterface} from 'node:readline'
import {PassThrough, type Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import type {TaskContext} from '../context.js'
import type {DispatcherControl} from '../dispatcher.js'
import {listStored, type StoredTask} from '../store.js'
import {kindsOf, type AuditKind} from './kinds.js'
import {ChainReader, type AuditLine, type ChainHead} from './chain.js'
import {keptFile, taskOfKeptFile} from './keep.js'
import {copyFromSidecar, copyFromVolume, followSidecar, readsVolumes, sidecarRuns} from './ledger.js'

/** One record as it is shown: what its writer wrote, with who wrote it in front. */
export interface AuditRecord {
  source: 'sidecar' | 'dispatcher'
  task?: string
  /** RFC 3339 */
  time: string
  record: Record<string, unknown>
}

export interface AuditQuery {
  /** name; also of a task that is gone */
  task?: string
  /** milliseconds since the epoch */
  since?: number
  /** records of any of these kinds; absent = all */
  kinds?: readonly AuditKind[]
  signal?: AbortSignal
}

/** Heads of chains by source, e.g. `sidecar:login.20260101T000000Z` or `dispatcher`. */
export type ChainHeads = Record<string, ChainHead>

export interface AuditReading {
  /** oldest first */
  records: AuditRecord[]
  heads: ChainHeads
  /** chains that were changed, cut or are not readable: `SOURCE: what is wrong` */
  problems: string[]
}

/** Where records come from. */
export interface AuditSource {
  /** name under which its head is kept */
  key: string
  source: AuditRecord['source']
  task?: string
  /** writes all lines, with `follow` for ever; rejects when it cannot be read */
  copy(out: Writable, follow: boolean): Promise<void>
}

/**
 * Everything that sidecars and dispatcher wrote down, also of tasks that are gone: each chain is read whole and checked
 * from its first record, against the head that was seen before; the query chooses what is returned.
 */
export async function readAudit(
  context: TaskContext,
  dispatcher: DispatcherControl,
  kept: {directory: string; heads: ChainHeads},
  query: AuditQuery,
): Promise<AuditReading> {
  const sources = await auditSources(context, dispatcher, kept.directory, query.task)
  const readings = await Promise.all(
    sources.map((source) => readSource(source, kept.heads[source.key], query)),
  )
  return {
    records: readings
      .flatMap(({records}) => records)
      .sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)),
    heads: Object.assign({}, ...readings.map(({heads}) => heads)) as ChainHeads,
    problems: readings.flatMap(({problems}) => problems),
  }
}

/** The tasks that are there, kept files of those that are gone, the dispatcher. */
export async function auditSources(
  context: TaskContext,
  dispatcher: DispatcherControl,
  directory: string,
  task: string | undefined,
): Promise<AuditSource[]> {
  const wanted = (name: string | undefined) => name !== undefined && (task === undefined || task === name)
  const stored = (await listStored(context)).filter(({name}) => wanted(name))
  const theirs = new Set(stored.map((one) => keptFile(directory, one)))
  const files = (await readdir(directory).catch(() => []))
    .filter((name) => wanted(taskOfKeptFile(name)))
    .filter((name) => !theirs.has(join(directory, name)))
  return [
    ...stored.map((one) => taskSource(context, one, directory)),
    ...files.map((name) => keptSource(directory, name)),
    {
      key: 'dispatcher',
      source: 'dispatcher',
      copy: (out, follow) => dispatcher.audit(follow ? {follow} : {}, out, context.signal),
    },
  ]
}

/** The ledger of a task that is there: off its volume, out of its sidecar, or as it was kept last. */
function taskSource(context: TaskContext, stored: StoredTask, directory: string): AuditSource {
  const {name: task, pod, record} = stored
  const kept = keptFile(directory, stored)
  const runs = sidecarRuns(pod)
  return {
    key: keyOf(kept),
    source: 'sidecar',
    task,
    copy: async (out, follow) => {
      if (runs && follow) return followSidecar(context, task, out, {signal: context.signal})
      if (readsVolumes(context)) {
        if ((await copyFromVolume(context, task, out)) > 0) return
      } else if (runs) return copyFromSidecar(context, task, out)
      if (await copyFile(kept, out)) return
      // A pod that was there has written something.
      if (!readsVolumes(context) && record.wanted !== 'creating')
        throw new Error('its sidecar does not run, and only a pod can look into its volume')
    },
  }
}

function keptSource(directory: string, name: string): AuditSource {
  const task = taskOfKeptFile(name)
  return {
    key: keyOf(name),
    source: 'sidecar',
    ...(task === undefined ? {} : {task}),
    copy: async (out) => {
      await copyFile(join(directory, name), out)
    },
  }
}

/** False when there is no such file. */
async function copyFile(file: string, out: Writable): Promise<boolean> {
  try {
    await pipeline(createReadStream(file), out, {end: false})
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

function keyOf(file: string): string {
  return `sidecar:${file.slice(file.lastIndexOf('/') + 1).replace(/\.jsonl$/, '')}`
}

async function readSource(
  source: AuditSource,
  known: ChainHead | undefined,
  query: AuditQuery,
): Promise<AuditReading> {
  const chain = new ChainReader(known)
  const records: AuditRecord[] = []
  const through = new PassThrough()
  let failure: unknown
  const copied = source.copy(through, false).catch((error: unknown) => {
    failure = error
  })
  void copied.then(() => through.end())
  for await (const line of createInterface({input: through, crlfDelay: Infinity})) {
    const read = line === '' ? undefined : chain.read(line)
    if (read && isWanted(read, source, query)) records.push(shown(read, source))
  }
  await copied
  if (failure !== undefined) {
    const why = failure instanceof Error ? failure.message : 'unknown'
    return {
      records,
      heads: known ? {[source.key]: known} : {},
      problems: [`${source.key} cannot be read: ${why}`],
    }
  }
  const problem = chain.problem()
  // A head that no longer fits stays, so that the next reading says so again.
  const head = problem !== undefined && known ? known : chain.last
  return {
    records,
    heads: {[source.key]: head},
    problems: problem === undefined ? [] : [`${source.key}: ${problem}`],
  }
}

export function isWanted(
  {record, time}: AuditLine,
  source: AuditSource,
  {task, since, kinds}: AuditQuery,
): boolean {
  if (since !== undefined && !(time >= since)) return false
  if (kinds && !kindsOf(source.source, record).some((kind) => kinds.includes(kind))) return false
  return source.source === 'sidecar' || task === undefined || record['task'] === task
}

export function shown(
  {record, time}: AuditLine,
  {source, task}: Pick<AuditSource, 'source' | 'task'>,
): AuditRecord {
  const named = task ?? (typeof record['task'] === 'string' ? record['task'] : undefined)
  return {
    source,
    ...(named === undefined ? {} : {task: named}),
    time: Number.isNaN(time) ? '' : new Date(time).toISOString(),
    record,
  }
}
