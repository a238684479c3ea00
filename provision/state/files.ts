import {randomBytes} from 'node:crypto'
import {mkdir, open, readFile, rename, rm} from 'node:fs/promises'
import {dirname} from 'node:path'
import {CageError, messageOf} from '../../core/errors.js'

/** Writes so that the path holds the old or the new content after a crash, never a part of it. Mode 0600, directories 0700. */
export async function writePrivate(path: string, content: string | Buffer): Promise<void> {
  await mkdir(dirname(path), {recursive: true, mode: 0o700})
  const draft = `${path}.${randomBytes(6).toString('hex')}.new`
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
  } catch (cause) {
    await rm(draft, {force: true})
    throw new CageError(`cannot write ${path}: ${messageOf(cause)}`, {
      code: 'STATE_NOT_WRITTEN',
      hints: ['Check the free space and the permissions of the state directory.'],
      cause,
    })
  }
}

/** Undefined when there is no such file. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new CageError(`cannot read ${path}: ${messageOf(cause)}`, {code: 'STATE_NOT_READ', cause})
  }
}
