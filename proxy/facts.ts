import {randomUUID} from 'node:crypto'
import {handleHeader} from '../core/layout.js'
import {canonicalTarget, isRefused} from '../policy/canonical.js'
import {Denial} from './denial.js'
import {absoluteTarget, agreedEndpoint, type ConnectionTarget, type Endpoint} from './target.js'

/** Header lines in order, names as sent. */
export type Headers = [name: string, value: string][]

/** A request before anything in it was judged, in the form of HTTP/1. */
export interface RequestHead {
  method?: string | undefined
  url?: string | undefined
  /** names and values in turn */
  rawHeaders: string[]
  /** there for HTTP/2, whose frames say whether a body follows */
  http2?: {hasBody: boolean}
}

/** The canonical form of one request; every later step works on this and forwards this. */
export interface RequestFacts extends Endpoint {
  id: string
  method: string
  /** canonical */
  path: string
  /** without `?`; empty = none */
  query: string
  /** the request target as sent, origin form */
  rawTarget: string
  /** end-to-end headers only, Host and framing left out */
  headers: Headers
  contentType: string | undefined
  /** codings in order, lower case; empty = identity */
  contentEncoding: string[]
  /** bytes; undefined = chunked or none */
  contentLength: number | undefined
  hasBody: boolean
  websocket: boolean
  http2: boolean
  /** that the agent reads what follows a body */
  trailers: boolean
}

const MAX_URL = 8 * 1024

const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Rebuilt from what was decided, or never the agent's to say. */
const replaced: ReadonlySet<string> = new Set([
  'content-length',
  'host',
  handleHeader,
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
])

/** Tokens of `Connection` that name only what is stripped anyhow. */
const connectionTokens: ReadonlySet<string> = new Set(['close', 'keep-alive', ...hopByHop])

export function newRequestId(): string {
  return randomUUID()
}

/** Throws Denial for whatever two parsers could read in two ways. */
export function requestFacts(request: RequestHead, connection: ConnectionTarget, id: string): RequestFacts {
  const raw = headerPairs(request.rawHeaders)
  const one = (name: string): string | undefined => {
    const values = raw.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)
    if (values.length > 1) throw new Denial('header_repeated', {status: 400, detail: name})
    return values[0]
  }
  const host = one('host')
  if (host === undefined) throw new Denial('host_missing', {status: 400})
  const url = request.url ?? ''
  if (url.length > MAX_URL) throw new Denial('url_too_long', {status: 414})
  const absolute = connection.via === 'absolute' ? absoluteTarget(url) : undefined
  const endpoint = agreedEndpoint(absolute?.target ?? connection, host)
  const rawTarget = absolute?.rest ?? url
  const target = canonicalTarget(rawTarget)
  if (isRefused(target)) throw new Denial(target.refused, {status: 400})
  const method = request.method ?? ''
  // They echo the request, credentials included, or open what is not looked into.
  if (/^(TRACE|TRACK|CONNECT)$/i.test(method)) throw new Denial('method_not_allowed', {status: 405})
  checkConnectionHeader(raw)
  const length = one('content-length')
  const contentLength = length === undefined ? undefined : Number(length)
  return {
    ...endpoint,
    ...target,
    id,
    method,
    rawTarget,
    headers: raw.filter(([name]) => !hopByHop.has(name.toLowerCase()) && !replaced.has(name.toLowerCase())),
    contentType: one('content-type')?.split(';', 1)[0]?.trim().toLowerCase(),
    contentEncoding: encodings(one('content-encoding')),
    contentLength,
    hasBody: request.http2?.hasBody ?? ((contentLength ?? 0) > 0 || one('transfer-encoding') !== undefined),
    websocket: one('upgrade')?.trim().toLowerCase() === 'websocket',
    http2: request.http2 !== undefined,
    trailers: raw.some(([name, value]) => name.toLowerCase() === 'te' && value === 'trailers'),
  }
}

export function headerPairs(raw: readonly string[]): Headers {
  const pairs: Headers = []
  for (let index = 0; index < raw.length; index += 2) pairs.push([raw[index] ?? '', raw[index + 1] ?? ''])
  return pairs
}

/** `Connection: authorization` would take a header away behind the back of whoever judged it. */
function checkConnectionHeader(headers: Headers): void {
  for (const [name, value] of headers) {
    if (name.toLowerCase() !== 'connection') continue
    for (const token of value.split(',')) {
      if (token.trim() !== '' && !connectionTokens.has(token.trim().toLowerCase())) {
        throw new Denial('connection_header', {status: 400})
      }
    }
  }
}

function encodings(value: string | undefined): string[] {
  const names = (value ?? '').split(',').map((name) => name.trim().toLowerCase())
  return names.filter((name) => name !== '' && name !== 'identity')
}

/** The response's headers that travel on: nothing of this hop, nothing that leads around the sidecar. */
export function endToEnd(headers: Headers): Headers {
  const named = headers
    .filter(([name]) => name.toLowerCase() === 'connection')
    .flatMap(([, value]) => value.split(',').map((token) => token.trim().toLowerCase()))
  const dropped = new Set([...hopByHop, ...named, 'alt-svc'])
  return headers.filter(([name]) => !dropped.has(name.toLowerCase()))
}
