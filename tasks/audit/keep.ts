import {createWriteStream} from 'node:fs'
import {mkdir, rename, rm, stat} from 'node:fs/promises'
import {join} from 'node:path'
import type {Writable} from 'node:stream'
import {finished} from 'node:stream/promises'
import {CageError, messageOf} from '../../core/errors.js'
import type {TaskContext} from '../context.js'
import type {KeepAudit} from '../remove.js'
import type {StoredTask} from '../store.js'
import {copyFromSidecar, copyFromVolume, followSidecar, readsVolumes, sidecarRuns} from './ledger.js'

const CAUGHT_UP_MS = 20_000

/** File of a task's kept audit: a later task of the same name has another. */
export function keptFile(directory: string, {name, created}: Pick<StoredTask, 'name' | 'created'>): string {
  return join(directory, `${name}.${created.replace(/[^0-9TZ]/g, '')}.jsonl`)
}

/** Task name of a kept file, or undefined for any other file. */
export function taskOfKeptFile(file: string): string | undefined {
  return /^([a-z0-9-]+)\.[0-9TZ]+\.jsonl$/.exec(file)?.[1]
}

/**
 * Copies a task's ledger into the state directory: off the task's volume once the pod has ended; where only a pod can
 * look into it, out of the sidecar, going on while the pod ends, so that nothing is lost that the agent does last.
 * @param onLoss told why there is no new copy; what it throws stops everything that would come after
 */
export function auditKeeper(
  context: TaskContext,
  directory: string,
  onLoss: (task: string, why: string) => void,
): KeepAudit {
  return async (stored, whilePodEnds) => {
    const {name: task, pod} = stored
    await mkdir(directory, {recursive: true, mode: 0o700})
    const kept = keptFile(directory, stored)
    const [copied, followed] = [`${kept}.copy`, `${kept}.follow`]
    const orLoss = async (copy: (out: Writable) => Promise<unknown>) => {
      try {
        await toFile(copied, copy)
        return true
      } catch (error) {
        context.signal?.throwIfAborted()
        onLoss(task, messageOf(error))
        return false
      }
    }
    try {
      if (readsVolumes(context)) {
        await whilePodEnds()
        if (await orLoss((out) => copyFromVolume(context, task, out))) await keepLonger(copied, kept)
      } else if (sidecarRuns(pod) && (await orLoss((out) => copyFromSidecar(context, task, out)))) {
        const size = await sizeOf(copied)
        await keepLonger(copied, kept)
        await followToTheEnd(context, task, {followed, size, whilePodEnds})
        await keepLonger(followed, kept)
      } else await whilePodEnds()
    } finally {
      await Promise.all([copied, followed].map((file) => rm(file, {force: true})))
    }
  }
}

/** Removing a task would lose what cannot be read: only the person may say so. Errors: AUDIT_UNREADABLE. */
export function refuseLoss(task: string, why: string): void {
  throw new CageError(`the audit of task ${task} cannot be read: ${why}`, {
    code: 'AUDIT_UNREADABLE',
    hints: [
      'Its volume is still there. See `cage status` and `cage task logs --container sidecar`.',
      `\`cage task rm ${task} --force\` removes the task without its audit.`,
    ],
  })
}

/** A ledger only grows: the longer of two copies is the newer one. */
async function keepLonger(copy: string, kept: string): Promise<void> {
  const [next, last] = await Promise.all([sizeOf(copy), sizeOf(kept)])
  if (next > 0 && next >= last) await rename(copy, kept)
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({size}) => size,
    () => 0,
  )
}

async function toFile(file: string, copy: (out: Writable) => Promise<unknown>): Promise<void> {
  const out = createWriteStream(file, {mode: 0o600})
  const written = finished(out)
  // Both are awaited below; a disk that is full must not be an unhandled rejection meanwhile.
  written.catch(() => undefined)
  try {
    await copy(out)
  } finally {
    out.end()
    // The file may be opened only now: whoever removes it must come after.
    await written
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
  const onBytes = (count: number) => {
    seen += count
    if (seen >= size) caughtUp()
  }
  const following = toFile(followed, (out) => followSidecar(context, task, out, {onBytes}))
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
