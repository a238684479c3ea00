import {createInterface} from 'node:readline'
import {PassThrough} from 'node:stream'
import type {TaskContext} from '../context.js'
import type {DispatcherControl} from '../dispatcher.js'
import {ChainReader} from './chain.js'
import {
  auditSources,
  isWanted,
  shown,
  type AuditQuery,
  type AuditRecord,
  type AuditSource,
  type ChainHeads,
} from './read.js'

const LOOK_AGAIN_MS = 3000

/**
 * New records as they are written, of tasks too that are started meanwhile; a sidecar or dispatcher that restarts is
 * taken up again. Ends with the context's signal.
 * @param heads what was shown already
 */
export async function followAudit(
  context: TaskContext,
  dispatcher: DispatcherControl,
  {directory, heads}: {directory: string; heads: ChainHeads},
  query: AuditQuery,
  onRecord: (record: AuditRecord) => void,
): Promise<void> {
  const seen: Record<string, number> = Object.fromEntries(
    Object.entries(heads).map(([key, {seq}]) => [key, seq]),
  )
  const running = new Map<string, Promise<void>>()
  const {signal} = context
  while (!signal?.aborted) {
    const sources = await auditSources(context, dispatcher, directory, query.task).catch(() => [])
    for (const source of sources) {
      if (running.has(source.key)) continue
      const following = followSource(source, seen, query, onRecord)
      running.set(source.key, following)
      void following.finally(() => running.delete(source.key))
    }
    // A signal during the pause ends the following.
    await context.clock.sleep(LOOK_AGAIN_MS, signal).catch(() => undefined)
  }
  await Promise.all(running.values())
}

async function followSource(
  source: AuditSource,
  seen: Record<string, number>,
  query: AuditQuery,
  onRecord: (record: AuditRecord) => void,
): Promise<void> {
  const chain = new ChainReader()
  const through = new PassThrough()
  // A connection that breaks is taken up again at the next look.
  const copied = source.copy(through, true).catch(() => undefined)
  void copied.then(() => through.end())
  for await (const line of createInterface({input: through, crlfDelay: Infinity})) {
    const read = line === '' ? undefined : chain.read(line)
    const {seq} = chain.last
    if (!read || seq <= (seen[source.key] ?? 0)) continue
    seen[source.key] = seq
    if (isWanted(read, source, query)) onRecord(shown(read, source))
  }
  await copied
}
