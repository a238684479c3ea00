import {createHash, createHmac} from 'node:crypto'
import type {CredentialBinding} from '../policy/grant.js'
import {Denial} from './denial.js'
import type {Headers} from './facts.js'

const ALGORITHM = 'AWS4-HMAC-SHA256'
/** What is signed has to be there as a whole. */
export const SIGNED_BODY_BYTES = 10 * 1024 * 1024

export interface SigningKeys {
  keyId: string
  secret: string
  /** of temporary keys */
  token?: string
}

export interface Unsigned {
  method: string
  /** canonical, percent-encoded */
  path: string
  query: string
  /** without those that the signature brings */
  headers: Headers
  /** Host as it is sent */
  host: string
  body: Buffer
}

export interface Signed {
  path: string
  query: string
  headers: Headers
}

/** Headers that a signature brings itself. */
export const signatureHeaders: ReadonlySet<string> = new Set([
  'authorization',
  'x-amz-content-sha256',
  'x-amz-date',
  'x-amz-security-token',
])

/** Whether a header value is a signature that names this key. */
export function isSignedWith(value: string, keyId: string): boolean {
  return value.startsWith(`${ALGORITHM} Credential=${keyId}/`)
}

/** Key id, secret and for temporary keys a token, with colons between them; undefined for anything else. */
export function signingKeys(value: string): SigningKeys | undefined {
  const [keyId, secret, token, ...more] = value.split(':')
  if (!keyId || !secret || more.length > 0) return undefined
  return {keyId, secret, ...(token ? {token} : {})}
}

/** What of a credential's value is secret. */
export function secretsIn({inject}: Pick<CredentialBinding, 'inject'>, value: string): string[] {
  const keys = inject.kind === 'sigv4' ? signingKeys(value) : undefined
  return keys ? [keys.secret, ...(keys.token === undefined ? [] : [keys.token])] : [value]
}

/** AWS Signature Version 4 over the whole request, as it goes out. Throws Denial for an address that cannot be read. */
export function sign(
  request: Unsigned,
  {region, service}: {region: string; service: string},
  keys: SigningKeys,
  now: Date,
): Signed {
  const moment = now.toISOString().replace(/[-:]|\.\d{3}/g, '')
  const scope = `${moment.slice(0, 8)}/${region}/${service}/aws4_request`
  const path = encodedPath(request.path)
  const query = encodedQuery(request.query)
  const payload = sha256(request.body)
  const headers: Headers = [
    ...request.headers,
    ['x-amz-date', moment],
    // The others take the hash from the canonical request alone.
    ...(service === 's3' ? ([['x-amz-content-sha256', payload]] satisfies Headers) : []),
    ...(keys.token === undefined ? [] : ([['x-amz-security-token', keys.token]] satisfies Headers)),
  ]
  const signed = signedHeaders([['host', request.host], ...headers])
  const names = signed.map(([name]) => name).join(';')
  const canonical = [
    request.method,
    service === 's3' ? path : path.split('/').map(encode).join('/'),
    query,
    ...signed.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    payload,
  ].join('\n')
  const text = [ALGORITHM, moment, scope, sha256(canonical)].join('\n')
  const signature = hmac(signingKey(keys.secret, scope), text).toString('hex')
  const authorization = `${ALGORITHM} Credential=${keys.keyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  return {path, query, headers: [...headers, ['authorization', authorization]]}
}

/** Host, content type and all of AWS's own, names in order, repeated ones joined. */
function signedHeaders(headers: Headers): Headers {
  const values = new Map<string, string[]>()
  for (const [name, value] of headers) {
    const folded = name.toLowerCase()
    if (folded !== 'host' && folded !== 'content-type' && !folded.startsWith('x-amz-')) continue
    values.set(folded, [...(values.get(folded) ?? []), value.trim().replace(/ +/g, ' ')])
  }
  return [...values].map(([name, all]): [string, string] => [name, all.join(',')]).sort(byText)
}

function signingKey(secret: string, scope: string): Buffer {
  return scope.split('/').reduce<Buffer | string>((key, part) => hmac(key, part), `AWS4${secret}`) as Buffer
}

function encodedPath(path: string): string {
  return path
    .split('/')
    .map((segment) => encode(decode(segment)))
    .join('/')
}

/** Sorted by name, then value, both encoded in the one way that both sides compute. */
function encodedQuery(query: string): string {
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair): [string, string] => {
      const [name = '', ...value] = pair.replaceAll('+', ' ').split('=')
      return [encode(decode(name)), encode(decode(value.join('=')))]
    })
    .sort(byText)
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

function byText([a, x]: [string, string], [b, y]: [string, string]): number {
  if (a !== b) return a < b ? -1 : 1
  return x === y ? 0 : x < y ? -1 : 1
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Denial('path_encoding', {status: 400})
  }
}

/** RFC 3986: everything but letters, digits and `-._~`. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
