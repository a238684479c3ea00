import {createReadStream} from 'node:fs'
import {readdir} from 'node:fs/promises'
import {join} from 'node:path'
import {createInterface} from 'node:readline'
import {PassThrough, type Writable} from 'node:stream'
import {container, program} from '../../core/layout.js'
import {namespaceOf, type TaskContext} from '../context.js'
import type {DispatcherControl} from '../dispatcher.js'
import {listStored, podRef, type StoredTask} from '../store.js'
import {ChainReader, type AuditLine, type ChainHead} from './chain.js'
import {keptFile, sidecarRuns, taskOfKeptFile} from './keep.js'

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

/** Kept files, sidecars that run, the dispatcher. */
export async function auditSources(
  context: TaskContext,
  dispatcher: DispatcherControl,
  directory: string,
  task: string | undefined,
): Promise<AuditSource[]> {
  const wanted = (name: string | undefined) => name !== undefined && (task === undefined || task === name)
  const live = (await listStored(context)).filter(({name, pod}) => wanted(name) && sidecarRuns(pod))
  const liveFiles = new Set(live.map((one) => keptFile(directory, one)))
  const files = (await readdir(directory).catch(() => []))
    .filter((name) => wanted(taskOfKeptFile(name)))
    .filter((name) => !liveFiles.has(join(directory, name)))
  return [
    ...live.map((one) => liveSource(context, one, directory)),
    ...files.map((name) => keptSource(directory, name)),
    {
      key: 'dispatcher',
      source: 'dispatcher',
      copy: (out, follow) => dispatcher.audit(follow ? {follow} : {}, out, context.signal),
    },
  ]
}

function liveSource(context: TaskContext, stored: StoredTask, directory: string): AuditSource {
  return {
    key: keyOf(keptFile(directory, stored)),
    source: 'sidecar',
    task: stored.name,
    copy: async (out, follow) => {
      const code = await context.cluster.exec({
        namespace: namespaceOf(context),
        pod: podRef(context, stored.name).name,
        container: container.sidecar,
        argv: ['node', program.proxy, 'audit', ...(follow ? ['-f'] : [])],
        stdout: out,
        ...(context.signal ? {signal: context.signal} : {}),
      })
      if (code !== 0) throw new Error(`the reader ended with exit code ${code}`)
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
      for await (const chunk of createReadStream(join(directory, name))) out.write(chunk)
    },
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

export function isWanted({record, time}: AuditLine, source: AuditSource, {task, since}: AuditQuery): boolean {
  if (since !== undefined && !(time >= since)) return false
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
