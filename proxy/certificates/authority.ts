import {randomBytes} from 'node:crypto'
import {existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {createAuthority, parseAuthority, type Authority} from '../../core/certificates/authority.js'
import {CageError, messageOf} from '../../core/errors.js'
import {writeAtomically} from '../files.js'

const FILE = 'authority.pem'

/**
 * The pod's own CA: made at the first start, the same after every restart of the sidecar, because agents read their
 * trust store once. A file that cannot be read is an error and never a reason for a new CA.
 */
export function openAuthority(stateDirectory: string, now: number): Authority {
  const path = join(stateDirectory, FILE)
  if (!existsSync(path))
    writeAtomically(path, createAuthority(`cage task ${randomBytes(4).toString('hex')}`, now), 0o600)
  try {
    return parseAuthority(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new CageError(`the pod's certificate authority in ${path} cannot be used: ${messageOf(cause)}`, {
      code: 'AUTHORITY_UNUSABLE',
      hints: ['Run `cage task stop` and `cage task start`: a new pod gets a new authority.'],
      cause,
    })
  }
}
