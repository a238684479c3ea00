import {readFile} from 'node:fs/promises'
import {writeDurably} from '../../core/durable-file.js'
import {CageError, messageOf} from '../../core/errors.js'

/** Writes so that the path holds the old or the new content after a crash, never a part of it. Mode 0600, directories 0700. */
export async function writePrivate(path: string, content: string | Buffer): Promise<void> {
  try {
    await writeDurably(path, content)
  } catch (cause) {
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
