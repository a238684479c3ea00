import {existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {CageError, messageOf} from '../core/errors.js'
import {sha256Hex, verifyPart} from '../policy/sign.js'
import type {SignedPart} from '../policy/grant.js'
import {Enforcement} from './enforcement.js'
import {writeAtomically} from './files.js'

const SEEN_FILE = 'revision'
const MAX_VALUE = 16 * 1024

export type GrantState =
  | {kind: 'open'; enforcement: Enforcement}
  | {kind: 'closed'; reason: 'grant_missing' | 'grant_invalid' | 'grant_outdated'; detail: string}

/**
 * The grant in force. Nothing is parsed before its signature holds, an older revision than one seen before closes the
 * sidecar, and a new one takes over in one assignment: no request ever sees half of it.
 */
export class Grants {
  readonly #publicKey: Buffer
  readonly #seenPath: string
  #state: GrantState = {kind: 'closed', reason: 'grant_missing', detail: 'no grant was loaded'}
  #seen: number
  #handle = ''

  /** @param publicKey SPKI DER of the project's Ed25519 key */
  constructor(publicKey: Buffer, stateDirectory: string) {
    this.#publicKey = publicKey
    this.#seenPath = join(stateDirectory, SEEN_FILE)
    this.#seen = existsSync(this.#seenPath) ? Number(readFileSync(this.#seenPath, 'utf8')) : 0
    if (!Number.isSafeInteger(this.#seen))
      throw new CageError(`${this.#seenPath} holds no revision`, {code: 'REVISION_UNREADABLE'})
  }

  get state(): GrantState {
    return this.#state
  }

  get highestSeen(): number {
    return this.#seen
  }

  /** At the start only: the Secret. Whatever is wrong with it closes the sidecar and is said in the state. */
  load(directory: string): GrantState {
    try {
      const read = (name: string) => readFileSync(join(directory, name), 'utf8')
      this.#handle = read('handle').trim()
      this.#take(parseJson(read('egress.json')), parseJson(read('credentials.json')))
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
      const outdated = error instanceof CageError && error.code === 'GRANT_OUTDATED'
      const reason = missing ? 'grant_missing' : outdated ? 'grant_outdated' : 'grant_invalid'
      this.#state = {kind: 'closed', reason, detail: messageOf(error)}
    }
    return this.#state
  }

  /** A pushed grant. Throws CageError and keeps what is in force when it is not valid or older. */
  put(part: unknown, credentials: unknown): Enforcement {
    return this.#take(part, credentials)
  }

  #take(part: unknown, credentials: unknown): Enforcement {
    const grant = verifyPart(part, this.#publicKey, 'egress')
    if (sha256Hex(this.#handle) !== (part as SignedPart).head.handleSha256) {
      throw new CageError('grant refused: it belongs to another handle', {code: 'GRANT_HANDLE'})
    }
    if (grant.revision < this.#seen) {
      const message = `grant refused: revision ${grant.revision} is older than ${this.#seen}, which was seen before`
      throw new CageError(message, {code: 'GRANT_OUTDATED'})
    }
    const enforcement = new Enforcement(grant, this.#handle, checkCredentials(credentials))
    if (grant.revision > this.#seen) {
      writeAtomically(this.#seenPath, String(grant.revision), 0o600)
      this.#seen = grant.revision
    }
    this.#state = {kind: 'open', enforcement}
    return enforcement
  }
}

function parseJson(text: string): unknown {
  return JSON.parse(text) as unknown
}

/** Values go into header lines: no control characters, nothing empty, nothing that no header could hold. */
function checkCredentials(value: unknown): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refused('not an object')
  const entries = Object.entries(value).map(([name, secret]: [string, unknown]): [string, string] => {
    if (typeof secret !== 'string' || secret.length > MAX_VALUE)
      throw refused(`${name} is no text of at most ${MAX_VALUE} characters`)
    if (secret === '' || /[^\u0020-\u007e\u0080-\u00ff]/.test(secret))
      throw refused(`${name} is empty or holds a control character`)
    return [name, secret]
  })
  return new Map(entries)
}

function refused(problem: string): CageError {
  return new CageError(`credentials refused: ${problem}`, {code: 'CREDENTIALS_INVALID'})
}
