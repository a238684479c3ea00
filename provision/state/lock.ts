import {link, mkdir, rm, writeFile} from 'node:fs/promises'
import {randomBytes} from 'node:crypto'
import {dirname} from 'node:path'
import type {Clock} from '../../core/clock.js'
import {CageError, messageOf} from '../../core/errors.js'
import {readIfThere} from './files.js'
import {livingProcess, processIdentity} from './process-identity.js'

export interface Lock {
  release(): Promise<void>
}

/**
 * Takes the lock or fails at once; a lock whose owner is gone is taken over.
 * Errors: PROJECT_BUSY, naming the owner.
 */
export async function takeLock(path: string, purpose: string): Promise<Lock> {
  await mkdir(dirname(path), {recursive: true, mode: 0o700})
  const identity = await processIdentity(process.pid)
  if (identity === undefined) {
    throw new CageError('cannot read /proc: is it mounted?', {code: 'PRECONDITION_PROC', exitCode: 3})
  }
  const content = `${identity}\n${purpose}\n`
  for (let attempt = 0; attempt < 5; attempt++) {
    if (await linked(path, content)) return {release: () => releaseOwn(path, content)}
    const owner = await readIfThere(path)
    if (owner === undefined) continue
    const [holder = '', doing = ''] = owner.split('\n')
    const pid = await livingProcess(holder)
    if (pid !== undefined) {
      throw new CageError(`another cage works on this project: \`${doing}\`, process ${pid}`, {
        code: 'PROJECT_BUSY',
        hints: ['Wait until it is done, or end it.'],
      })
    }
    await rm(path, {force: true})
  }
  throw new CageError(`cannot take ${path}`, {code: 'PROJECT_BUSY', hints: ['Try again.']})
}

/** Waits while another cage holds what `take` takes. */
export async function whenFree<T>(
  take: () => Promise<T>,
  {clock}: {clock: Clock},
  signal: AbortSignal,
): Promise<T> {
  for (;;) {
    try {
      return await take()
    } catch (cause) {
      if (!(cause instanceof CageError) || cause.code !== 'PROJECT_BUSY') throw cause
      await clock.sleep(100, signal)
    }
  }
}

/** A file appears under its name with its content at once, or not at all. */
async function linked(path: string, content: string): Promise<boolean> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await writeFile(draft, content, {mode: 0o600, flag: 'wx'})
  try {
    await link(draft, path)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw new CageError(`cannot take ${path}: ${messageOf(cause)}`, {code: 'STATE_NOT_WRITTEN', cause})
  } finally {
    await rm(draft, {force: true})
  }
}

async function releaseOwn(path: string, content: string): Promise<void> {
  if ((await readIfThere(path)) === content) await rm(path, {force: true})
}
