import {Transform, type Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {clusterNames, container, ledgerFile, program} from '../../core/layout.js'
import {namespaceOf, type TaskContext} from '../context.js'
import type {TaskPod} from '../phase.js'
import {podRef} from '../store.js'

/** A reader in the sidecar that says nothing for so long is given up. */
const SILENCE_MS = 20_000

export function sidecarRuns(pod: TaskPod | undefined): boolean {
  const statuses = pod?.status?.initContainerStatuses ?? []
  return statuses.some(({name, state}) => name === container.sidecar && state?.running !== undefined)
}

/** Writes the ledger of a running sidecar. Throws when it cannot be read to its end. */
export async function copyFromSidecar(context: TaskContext, task: string, out: Writable): Promise<void> {
  const silent = new AbortController()
  const watch = setTimeout(() => silent.abort(), SILENCE_MS)
  const {signal} = context
  try {
    await runReader(context, task, [], out, {
      onBytes: () => watch.refresh(),
      signal: signal ? AbortSignal.any([signal, silent.signal]) : silent.signal,
    })
  } catch (error) {
    if (silent.signal.aborted) throw new Error('the reader in the sidecar is silent', {cause: error})
    throw error
  } finally {
    clearTimeout(watch)
  }
}

/** The same, going on with what is written until the sidecar ends or the signal fires. */
export function followSidecar(
  context: TaskContext,
  task: string,
  out: Writable,
  options: {onBytes?: (count: number) => void; signal?: AbortSignal | undefined} = {},
): Promise<void> {
  return runReader(context, task, ['-f'], out, options)
}

async function runReader(
  context: TaskContext,
  task: string,
  args: readonly string[],
  out: Writable,
  {onBytes, signal}: {onBytes?: (count: number) => void; signal?: AbortSignal | undefined},
): Promise<void> {
  const heard = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      onBytes?.(chunk.length)
      done(undefined, chunk)
    },
  })
  await through(heard, out, async () => {
    const code = await context.cluster.exec({
      namespace: namespaceOf(context),
      pod: podRef(context, task).name,
      container: container.sidecar,
      argv: ['node', program.proxy, 'audit', ...args],
      stdout: heard,
      ...(signal ? {signal} : {}),
    })
    if (code !== 0) throw new Error(`the reader in the sidecar ended with exit code ${code}`)
  })
}

/** Whether this cluster lets the ledger be read without the sidecar. */
export function readsVolumes({volumes}: Pick<TaskContext, 'volumes'>): boolean {
  return volumes.read !== undefined
}

/**
 * Writes the ledger as it lies on the task's volume, whole lines only, whether or not its sidecar runs.
 * @returns bytes written; 0 when there is no ledger
 */
export async function copyFromVolume(context: TaskContext, task: string, out: Writable): Promise<number> {
  const {volumes, signal} = context
  const read = volumes.read?.bind(volumes)
  if (!read) throw new Error('only a pod can look into its volume')
  let rest: Buffer = Buffer.alloc(0)
  let bytes = 0
  const wholeLines = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const all = Buffer.concat([rest, chunk])
      const end = all.lastIndexOf(10) + 1
      // What a writer is or was in the middle of is no record.
      rest = all.subarray(end)
      bytes += end
      done(undefined, all.subarray(0, end))
    },
  })
  await through(wholeLines, out, () => read(clusterNames.ledger(task), ledgerFile, wholeLines, signal))
  return bytes
}

/** Fills a filter in front of `out`, which stays open; resolves once everything has gone on. */
async function through(filter: Transform, out: Writable, fill: () => Promise<void>): Promise<void> {
  const passed = pipeline(filter, out, {end: false})
  // Awaited below; a disk that is full must not be an unhandled rejection meanwhile.
  passed.catch(() => undefined)
  try {
    await fill()
  } finally {
    filter.end()
  }
  await passed
}
