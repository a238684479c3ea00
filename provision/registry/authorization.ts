import {CageError} from '../../core/errors.js'
import type {RegistryAccount} from './account.js'

const TOKEN_MS = 30_000

/**
 * Answers what a registry asks for (RFC 7617; token authentication of the distribution project): the account itself, or a
 * token that the account is exchanged for. `origin` is the registry's: a place for tokens is HTTPS or there.
 * @param repository that is written to; absent = none
 * @returns the header `authorization`; undefined when nothing can be answered
 */
export async function authorize(
  challenge: string,
  account: RegistryAccount | undefined,
  {origin, repository, signal}: {origin: string; repository?: string; signal: AbortSignal},
): Promise<string | undefined> {
  if (/^basic\b/i.test(challenge)) return account && basic(account)
  if (!/^bearer\b/i.test(challenge)) return undefined
  const asked = Object.fromEntries(
    [...challenge.matchAll(/([a-z_]+)="([^"]*)"/gi)].map(([, name = '', value = '']) => [name, value]),
  ) as {realm?: string; service?: string; scope?: string}
  const url = placeOf(asked.realm, origin)
  if (asked.service !== undefined) url.searchParams.set('service', asked.service)
  const scope = repository === undefined ? asked.scope : `repository:${repository}:pull,push`
  if (scope !== undefined) url.searchParams.set('scope', scope)
  const token = await tokenFrom(url, account, signal)
  return token === undefined ? undefined : `Bearer ${token}`
}

function placeOf(realm: string | undefined, origin: string): URL {
  const url = realm !== undefined && URL.canParse(realm) ? new URL(realm) : undefined
  if (url && (url.protocol === 'https:' || url.origin === origin)) return url
  throw new CageError('the registry sends to a place for tokens that is not HTTPS', {code: 'REGISTRY_FAILED'})
}

/** Undefined when the account is refused. Redirects are not followed: the account goes to one place. */
async function tokenFrom(
  url: URL,
  account: RegistryAccount | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const headers = account ? {authorization: basic(account)} : {}
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TOKEN_MS)])
  try {
    const response = await fetch(url, {headers, signal: limit, redirect: 'manual'})
    if (!response.ok) return undefined
    const said = (await response.json()) as {token?: unknown; access_token?: unknown}
    const token = said.token ?? said.access_token
    return typeof token === 'string' ? token : undefined
  } catch (cause) {
    if (signal.aborted) throw cause
    throw new CageError(`the registry's place for tokens, ${url.host}, does not answer`, {
      code: 'REGISTRY_UNREACHABLE',
      hints: ['For a CA of your own set NODE_EXTRA_CA_CERTS.'],
      cause,
    })
  }
}

function basic({user, password}: RegistryAccount): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}
