import {X509Certificate} from 'node:crypto'
import {
  createAuthority,
  issueServer,
  parseAuthority,
  type Authority,
} from '../../core/certificates/authority.js'
import {CageError, messageOf} from '../../core/errors.js'
import {gitHost} from '../../core/layout.js'
import {readIfThere, writePrivate} from './files.js'
import type {ProjectFiles} from './layout.js'

const DAY_MS = 24 * 60 * 60 * 1000
const SERVER_DAYS = 365
const RENEW_BEFORE_DAYS = 90

export interface ServerCertificate {
  /** PEM */
  certificate: string
  /** PEM */
  key: string
}

/** The project's CA, made once; it signs the dispatcher's certificate and nothing else. Errors: STATE_DAMAGED. */
export async function projectAuthority(files: ProjectFiles, now: number): Promise<Authority> {
  const known = await readIfThere(files.caKey)
  const text = known ?? createAuthority(`cage project ${files.directory.split('/').at(-1) ?? ''}`, now)
  if (known === undefined) await writePrivate(files.caKey, text)
  try {
    const authority = parseAuthority(text)
    if (known === undefined || (await readIfThere(files.caCertificate)) === undefined) {
      await writePrivate(files.caCertificate, authority.certificate)
    }
    return authority
  } catch (cause) {
    throw new CageError(`${files.caKey} is not a key and certificate of cage: ${messageOf(cause)}`, {
      code: 'STATE_DAMAGED',
      hints: ['Restore the file from a backup, or run `cage destroy` and `cage up`.'],
      cause,
    })
  }
}

/** The one given while it is good for a while and signed by this CA; otherwise a new one for a year. */
export function dispatcherCertificate(
  authority: Authority,
  current: ServerCertificate | undefined,
  now: number,
): ServerCertificate {
  if (current && stillGood(authority, current, now)) return current
  return issueServer(authority, gitHost, now, SERVER_DAYS)
}

function stillGood(authority: Authority, {certificate}: ServerCertificate, now: number): boolean {
  try {
    const parsed = new X509Certificate(certificate)
    return (
      parsed.verify(authority.publicKey) &&
      parsed.checkHost(gitHost) !== undefined &&
      Date.parse(parsed.validTo) > now + RENEW_BEFORE_DAYS * DAY_MS
    )
  } catch {
    // Whatever stands there is replaced.
    return false
  }
}
