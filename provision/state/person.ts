import {randomBytes} from 'node:crypto'
import {link, mkdir, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, messageOf} from '../../core/errors.js'
import {readIfThere} from './files.js'

/**
 * Random, made once for a person on a computer: in a cluster that many share it keeps projects apart whose paths and names
 * are the same. Errors: STATE_NOT_WRITTEN.
 */
export async function personId(stateHome: string): Promise<string> {
  const path = join(stateHome, 'cage', 'person')
  const known = await readIfThere(path)
  if (known !== undefined) return known.trim()
  const draft = `${path}.${randomBytes(8).toString('hex')}`
  try {
    await mkdir(join(stateHome, 'cage'), {recursive: true, mode: 0o700})
    await writeFile(draft, `${randomBytes(16).toString('hex')}\n`, {mode: 0o600})
    // Of two commands at once the first one's stays.
    await link(draft, path).catch((cause: unknown) => {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
    })
  } catch (cause) {
    throw new CageError(`cannot write ${path}: ${messageOf(cause)}`, {code: 'STATE_NOT_WRITTEN', cause})
  } finally {
    await rm(draft, {force: true})
  }
  return ((await readIfThere(path)) ?? '').trim()
}
