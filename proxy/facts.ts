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
  'forwarded',
  'host',
  handleHeader,
  'x-forwarded-host',
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-host',
  'x-original-url',
  'x-rewrite-url',
])

/** What stands for one thing only, and so may stand there once. */
const single: ReadonlySet<string> = new Set([
  'content-encoding',
  'content-length',
  'content-type',
  'host',
  'transfer-encoding',
  'upgrade',
])

/** Tokens of `Connection` that name only what is stripped anyhow. */
const connectionTokens: ReadonlySet<string> = new Set(['close', 'keep-alive', ...hopByHop])

export function newRequestId(): string {
  return randomUUID()
}

/** Throws Denial for whatever two parsers could read in two ways. */
export function requestFacts(request: RequestHead, connection: ConnectionTarget, id: string): RequestFacts {
  const {one, forwarded, trailers} = readHeaders(request.rawHeaders)
  const host = one.get('host')
  if (host === undefined) throw new Denial('host_missing', {status: 400})
  const url = request.url ?? ''
  if (url.length > MAX_URL) throw new Denial('url_too_long', {status: 414})
  const absolute = connection.via === 'absolute' ? absoluteTarget(url) : undefined
  const endpoint = agreedEndpoint(absolute?.target ?? connection, host)
  const rawTarget = absolute?.rest ?? url
  const target = canonicalTarget(rawTarget)
  if (isRefused(target)) throw new Denial(target.refused, {status: 400})
  const method = request.method ?? ''
  // HTTP/2 lets any text through; a server that reads `delete` as DELETE would do what no rule was asked about.
  if (!/^[A-Z]+(?:-[A-Z]+)*$/.test(method))
    throw new Denial('http_malformed', {status: 400, detail: 'method'})
  // They echo the request, credentials included, or open what is not looked into.
  if (/^(TRACE|TRACK|CONNECT)$/i.test(method)) throw new Denial('method_not_allowed', {status: 405})
  // What another coding hides would be forwarded without it.
  if (!/^chunked$/i.test(one.get('transfer-encoding') ?? 'chunked'))
    throw new Denial('http_malformed', {status: 400, detail: 'transfer-encoding'})
  const length = one.get('content-length')
  const contentLength = length === undefined ? undefined : Number(length)
  return {
    scheme: endpoint.scheme,
    host: endpoint.host,
    port: endpoint.port,
    path: target.path,
    query: target.query,
    id,
    method,
    rawTarget,
    headers: forwarded,
    contentType: one.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase(),
    contentEncoding: encodings(one.get('content-encoding')),
    contentLength,
    hasBody: request.http2?.hasBody ?? ((contentLength ?? 0) > 0 || one.has('transfer-encoding')),
    websocket: one.get('upgrade')?.trim().toLowerCase() === 'websocket',
    http2: request.http2 !== undefined,
    trailers,
  }
}

interface ReadHeaders {
  /** by name, lower case */
  one: ReadonlyMap<string, string>
  forwarded: Headers
  trailers: boolean
}

/** One pass over the block. Throws Denial. */
function readHeaders(raw: readonly string[]): ReadHeaders {
  const one = new Map<string, string>()
  const forwarded: Headers = []
  let trailers = false
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? ''
    const value = raw[index + 1] ?? ''
    const folded = name.toLowerCase()
    if (single.has(folded)) {
      if (one.has(folded)) throw new Denial('header_repeated', {status: 400, detail: folded})
      one.set(folded, value)
    } else if (folded === 'connection') checkConnectionHeader(value)
    else if (folded === 'te' && value === 'trailers') trailers = true
    const plain = plainName(folded)
    if (!hopByHop.has(plain) && !replaced.has(plain)) forwarded.push([name, value])
  }
  return {one, forwarded, trailers}
}

/** A name in lower case as servers see it that hand headers on as variables: to them `_` and `-` are one (RFC 3875, 4.1.18). */
export function plainName(folded: string): string {
  return folded.includes('_') ? folded.replaceAll('_', '-') : folded
}

export function headerPairs(raw: readonly string[]): Headers {
  const pairs: Headers = []
  for (let index = 0; index < raw.length; index += 2) pairs.push([raw[index] ?? '', raw[index + 1] ?? ''])
  return pairs
}

/** Names and values in turn, as Node wants them. */
export function flat(headers: Headers): string[] {
  const lines: string[] = []
  for (const [name, value] of headers) lines.push(name, value)
  return lines
}

/** `Connection: authorization` would take a header away behind the back of whoever judged it. */
function checkConnectionHeader(value: string): void {
  for (const token of value.split(',')) {
    if (token.trim() !== '' && !connectionTokens.has(token.trim().toLowerCase())) {
      throw new Denial('connection_header', {status: 400})
    }
  }
}

function encodings(value: string | undefined): string[] {
  if (value === undefined) return []
  const names = value.split(',').map((name) => name.trim().toLowerCase())
  return names.filter((name) => name !== '' && name !== 'identity')
}

/** The response's headers that travel on: nothing of this hop, nothing that leads around the sidecar. */
export function endToEnd(headers: Headers): Headers {
  let named: Set<string> | undefined
  const kept: Headers = []
  for (const header of headers) {
    const name = header[0].toLowerCase()
    if (name === 'connection') named = tokensOf(header[1], named)
    else if (name !== 'alt-svc' && !hopByHop.has(name)) kept.push(header)
  }
  return named ? kept.filter(([name]) => !named.has(name.toLowerCase())) : kept
}

/** What `Connection` names besides what is stripped anyhow. */
function tokensOf(value: string, known?: Set<string>): Set<string> | undefined {
  let tokens = known
  for (const token of value.split(',')) {
    const folded = token.trim().toLowerCase()
    if (!connectionTokens.has(folded)) (tokens ??= new Set()).add(folded)
  }
  return tokens
}
