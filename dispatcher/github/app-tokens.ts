import {createPrivateKey, sign, type KeyObject} from 'node:crypto'
import type {Clock} from '../../core/clock.js'
import {CageError, ExitCode} from '../../core/errors.js'
import type {ApiAnswer, ApiClient} from './api-client.js'

/** Permissions of an installation token, by GitHub's names. */
export type Permissions = Readonly<Record<string, 'read' | 'write'>>

export interface AppIdentity {
  /** id of the GitHub App */
  app: number
  installation: number
  /** PEM of its private key */
  key: string
}

export interface TokenWish {
  /** the task, or the project's name for the dispatcher's own copy */
  owner: string
  /** absent = the one of the project's settings */
  installation?: number
  /** name of the repository, without its owner; absent = all that the installation has */
  repository?: string
  /** as much of this as the installation holds */
  permissions: Permissions
  /** without these there is no token */
  required: readonly string[]
}

interface Held {
  token: string
  /** epoch milliseconds */
  until: number
}

export const apiHost = 'api.github.com'
const EARLY_MS = 5 * 60_000
/** nobody waits for GitHub to remove a task */
const REVOKE_MS = 5000
const GRANTED_MS = 10 * 60_000

/**
 * Installation tokens of a GitHub App: each for one repository and with no more permissions than it is for; kept in
 * memory until shortly before they end, and revoked with their task.
 */
export class AppTokens {
  readonly #identity: AppIdentity
  readonly #key: KeyObject
  readonly #api: ApiClient
  readonly #clock: Clock
  readonly #held = new Map<string, {owner: string; token: Promise<Held>; value?: string}>()
  readonly #granted = new Map<number, {permissions: Promise<Permissions>; until: number}>()

  constructor(identity: AppIdentity, api: ApiClient, clock: Clock) {
    this.#identity = identity
    this.#key = privateKey(identity.key)
    this.#api = api
    this.#clock = clock
  }

  /** Errors: GITHUB_APP_REFUSED, GITHUB_APP_PERMISSION, GITHUB_UNREACHABLE */
  async token(wish: TokenWish): Promise<string> {
    const {owner, installation = null, repository = null, permissions} = wish
    const id = JSON.stringify([owner, installation, repository, permissions])
    const known = this.#held.get(id)
    const held = await known?.token.catch(() => undefined)
    if (held && held.until - EARLY_MS > this.#clock.now()) return held.token
    const current = this.#held.get(id)
    if (current && current !== known) return (await current.token).token
    const entry: {owner: string; token: Promise<Held>; value?: string} = {
      owner: wish.owner,
      token: this.#make(wish),
    }
    this.#held.set(id, entry)
    try {
      return (entry.value = (await entry.token).token)
    } catch (error) {
      if (this.#held.get(id) === entry) this.#held.delete(id)
      throw error
    }
  }

  /** GitHub no longer takes this one: the next question gets another. */
  forget(token: string): void {
    for (const [id, held] of this.#held) if (held.value === token) this.#held.delete(id)
  }

  /** Ends the tokens of a task at GitHub. @returns how many did not end; they do within the hour */
  async revoke(owner: string): Promise<number> {
    const mine = [...this.#held].filter(([, held]) => held.owner === owner)
    for (const [id] of mine) this.#held.delete(id)
    const ended = await Promise.all(
      mine.map(async ([, held]) => {
        const token = (await held.token.catch(() => undefined))?.token
        if (token === undefined) return true
        const answer = await this.#api
          .ask(apiHost, {
            method: 'DELETE',
            target: '/installation/token',
            headers: headers(token),
            signal: AbortSignal.timeout(REVOKE_MS),
          })
          .catch(() => undefined)
        return answer?.status === 204 || answer?.status === 401
      }),
    )
    return ended.filter((done) => !done).length
  }

  /** Errors: GITHUB_APP_PERMISSION, GITHUB_APP_REFUSED, GITHUB_UNREACHABLE */
  async requirePermissions(
    {permissions, required}: Pick<TokenWish, 'permissions' | 'required'>,
    installation: number,
  ): Promise<Permissions> {
    const granted = await this.#permissions(installation)
    const missing = required.find((name) => !covers(granted[name], permissions[name] ?? 'read'))
    if (missing === undefined) return granted
    throw new CageError(
      `the GitHub App of this project lacks the permission ${missing}: ${permissions[missing] ?? 'read'}; a person has to give it`,
      {code: 'GITHUB_APP_PERMISSION', exitCode: ExitCode.precondition},
    )
  }

  /** Where the app is installed and works. Errors: GITHUB_APP_REFUSED, GITHUB_UNREACHABLE */
  async installations(): Promise<{id: number; account: string}[]> {
    const answer = await this.#asApp('GET', '/app/installations?per_page=100')
    const list = json(answer)
    if (answer.status !== 200 || !Array.isArray(list)) throw refused(answer.status)
    return (list as {id?: unknown; account?: {login?: unknown} | null; suspended_at?: unknown}[]).flatMap(
      ({id, account, suspended_at: suspended}) =>
        typeof id === 'number' && typeof account?.login === 'string' && (suspended ?? null) === null
          ? [{id, account: account.login}]
          : [],
    )
  }

  async #make(wish: TokenWish): Promise<Held> {
    const {installation = this.#identity.installation, repository, permissions} = wish
    const granted = await this.requirePermissions(wish, installation)
    const asked = Object.entries(permissions).flatMap(([name, level]) => {
      const most = granted[name]
      return most === undefined ? [] : [[name, covers(most, level) ? level : most]]
    })
    const answer = await this.#asApp('POST', `/app/installations/${installation}/access_tokens`, {
      ...(repository === undefined ? {} : {repositories: [repository]}),
      permissions: Object.fromEntries(asked) as Permissions,
    })
    const {token, expires_at: expires} = json(answer) as {token?: unknown; expires_at?: unknown}
    if (answer.status !== 201 || typeof token !== 'string') throw refused(answer.status)
    const until = typeof expires === 'string' ? Date.parse(expires) : Number.NaN
    return {token, until: Number.isFinite(until) ? until : this.#clock.now() + 30 * 60_000}
  }

  #permissions(installation: number): Promise<Permissions> {
    const known = this.#granted.get(installation)
    if (known && known.until >= this.#clock.now()) return known.permissions
    const permissions = this.#asApp('GET', `/app/installations/${installation}`).then((answer) => {
      if (answer.status !== 200) throw refused(answer.status)
      return (json(answer) as {permissions?: Permissions}).permissions ?? {}
    })
    this.#granted.set(installation, {permissions, until: this.#clock.now() + GRANTED_MS})
    permissions.catch(() => this.#granted.delete(installation))
    return permissions
  }

  #asApp(method: string, target: string, body?: unknown): Promise<ApiAnswer> {
    return this.#api.ask(apiHost, {
      method,
      target,
      headers: headers(this.#jwt()),
      ...(body === undefined ? {} : {body: JSON.stringify(body)}),
    })
  }

  /** RFC 7519, RS256, good for nine minutes; begun a minute early, for clocks that differ. */
  #jwt(): string {
    const now = Math.floor(this.#clock.now() / 1000)
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = {iat: now - 60, exp: now + 540, iss: String(this.#identity.app)}
    const text = `${part({alg: 'RS256', typ: 'JWT'})}.${part(claims)}`
    return `${text}.${sign('RSA-SHA256', Buffer.from(text), this.#key).toString('base64url')}`
  }
}

function covers(held: 'read' | 'write' | undefined, wanted: 'read' | 'write'): boolean {
  return held === 'write' || held === wanted
}

function headers(token: string): Record<string, string> {
  return {
    accept: 'application/vnd.github+json',
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    'x-github-api-version': '2022-11-28',
  }
}

function privateKey(pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'rsa') return key
  } catch {
    // What cannot be read is refused below; the reason could quote the key.
  }
  throw new CageError('the key of the GitHub App is not a private RSA key in PEM', {
    code: 'GITHUB_APP_KEY',
    exitCode: ExitCode.precondition,
    hints: ['Download a private key on the settings page of the app, and name the file in `github.key`.'],
  })
}

function json({body}: ApiAnswer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown
  } catch {
    return {}
  }
}

function refused(status: number): CageError {
  return new CageError(
    `GitHub gives no token to the app of this project (status ${status}); a person has to look at \`github\` in their config.yaml and at the installation of the app`,
    {code: 'GITHUB_APP_REFUSED'},
  )
}
