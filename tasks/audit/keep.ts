import {createWriteStream} from 'node:fs'
import {mkdir, rename, rm, stat} from 'node:fs/promises'
import {join} from 'node:path'
import {PassThrough, Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {CageError} from '../../core/errors.js'
import {container, program} from '../../core/layout.js'
import {namespaceOf, type TaskContext} from '../context.js'
import type {TaskPod} from '../phase.js'
import type {KeepAudit} from '../remove.js'
import {podRef, type StoredTask} from '../store.js'

const CAUGHT_UP_MS = 20_000

/** File of a task's kept audit: a later task of the same name has another. */
export function keptFile(directory: string, {name, created}: Pick<StoredTask, 'name' | 'created'>): string {
  return join(directory, `${name}.${created.replace(/[^0-9TZ]/g, '')}.jsonl`)
}

/** Task name of a kept file, or undefined for any other file. */
export function taskOfKeptFile(file: string): string | undefined {
  return /^([a-z0-9-]+)\.[0-9TZ]+\.jsonl$/.exec(file)?.[1]
}

export function sidecarRuns(pod: TaskPod | undefined): boolean {
  const statuses = pod?.status?.initContainerStatuses ?? []
  return statuses.some(({name, state}) => name === container.sidecar && state?.running !== undefined)
}

/**
 * Copies the sidecar's ledger into the state directory before its pod ends, and goes on reading while the pod ends, so
 * that nothing is lost that the agent does last. A sidecar that does not run cannot be read: its last copy stays.
 */
export function auditKeeper(context: TaskContext, directory: string): KeepAudit {
  return async (stored, whilePodEnds) => {
    if (!sidecarRuns(stored.pod)) {
      await whilePodEnds()
      return
    }
    await mkdir(directory, {recursive: true, mode: 0o700})
    const kept = keptFile(directory, stored)
    const copied = `${kept}.copy`
    const followed = `${kept}.follow`
    try {
      const code = await readLedger(context, stored.name, copied, [])
      if (code !== 0) {
        throw new CageError(`the audit of task ${stored.name} cannot be read (exit code ${code})`, {
          code: 'AUDIT_UNREADABLE',
          hints: ['Nothing was removed. See `cage task logs --container sidecar`.'],
        })
      }
      const {size} = await stat(copied)
      await rename(copied, kept)
      await followToTheEnd(context, stored.name, {followed, size, whilePodEnds})
      if ((await stat(followed)).size >= size) await rename(followed, kept)
    } finally {
      await Promise.all([copied, followed].map((file) => rm(file, {force: true})))
    }
  }
}

async function followToTheEnd(
  context: TaskContext,
  task: string,
  {followed, size, whilePodEnds}: {followed: string; size: number; whilePodEnds: () => Promise<void>},
): Promise<void> {
  let seen = 0
  let caughtUp: () => void = () => undefined
  const caught = new Promise<void>((resolve) => (caughtUp = resolve))
  const following = readLedger(context, task, followed, ['-f'], (bytes) => {
    seen += bytes
    if (seen >= size) caughtUp()
  })
  // The pod's end cuts the connection: that is how following ends.
  const ended = following.catch(() => undefined)
  if (size === 0) caughtUp()
  const late = new AbortController()
  await Promise.race([caught, ended, context.clock.sleep(CAUGHT_UP_MS, late.signal).catch(() => undefined)])
  // A timer that nobody waits for would keep the process.
  late.abort()
  await whilePodEnds()
  await ended
}

/** Streams the ledger into a file; resolves with the reader's exit code. */
export async function readLedger(
  context: TaskContext,
  task: string,
  file: string,
  args: readonly string[],
  onBytes: (count: number) => void = () => undefined,
): Promise<number> {
  const through = new PassThrough()
  const written = pipeline(through, createWriteStream(file, {mode: 0o600}))
  const counting = new Writable({
    write(chunk: Buffer, _encoding, done) {
      onBytes(chunk.length)
      if (through.write(chunk)) done()
      else through.once('drain', done)
    },
  })
  try {
    return await context.cluster.exec({
      namespace: namespaceOf(context),
      pod: podRef(context, task).name,
      container: container.sidecar,
      argv: ['node', program.proxy, 'audit', ...args],
      stdout: counting,
    })
  } finally {
    through.end()
    await written
  }
}
