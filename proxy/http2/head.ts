import {Denial} from '../denial.js'
import type {RequestHead} from '../facts.js'

const MAX_BYTES = 16 * 1024
const pseudo: ReadonlySet<string> = new Set([':authority', ':method', ':path', ':scheme'])
const ofConnections: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])
const name = /^[!#$%&'*+.^_`|~0-9a-z-]+$/

/**
 * The header block of an HTTP/2 request in the form of HTTP/1, so that one pipeline judges both. Throws Denial for what
 * RFC 9113 (8.2, 8.3) calls malformed, and for names of the target that disagree.
 * @param raw names and values in turn, as decoded
 * @param isWhole that no body follows
 */
export function http2Head(raw: readonly string[], scheme: 'https' | 'http', isWhole: boolean): RequestHead {
  const special = new Map<string, string>()
  const headers: string[] = []
  const cookies: string[] = []
  const hosts: string[] = []
  let bytes = 0
  for (let index = 0; index < raw.length; index += 2) {
    const key = raw[index] ?? ''
    const value = raw[index + 1] ?? ''
    // What one more line costs a receiver, RFC 9113, 6.5.2.
    bytes += key.length + value.length + 32
    if (bytes > MAX_BYTES) throw new Denial('http_malformed', {status: 431, detail: 'header block too long'})
    if (/[\u0000-\u0008\u000a-\u001f\u007f]|^[\t ]|[\t ]$/.test(value)) throw malformed('a value')
    if (key.startsWith(':')) {
      if (!pseudo.has(key) || special.has(key) || headers.length + cookies.length + hosts.length > 0)
        throw malformed('a pseudo-header')
      special.set(key, value)
    } else if (!name.test(key)) throw malformed('a name')
    else if (ofConnections.has(key) || (key === 'te' && value !== 'trailers'))
      throw malformed('a header of connections')
    // It may come in pieces, and has to be one line for everybody else (8.2.3).
    else if (key === 'cookie') cookies.push(value)
    else if (key === 'host') hosts.push(value)
    else headers.push(key, value)
  }
  const method = special.get(':method')
  // A tunnel, or a WebSocket in one stream (RFC 8441), which is not offered.
  if (method === 'CONNECT')
    throw new Denial('method_not_allowed', {status: 405, hint: 'Use HTTP/1.1 for WebSockets.'})
  const url = special.get(':path')
  if (!method || !url || special.get(':scheme') !== scheme) throw malformed('method, path or scheme')
  return {
    method,
    url,
    rawHeaders: [
      ...['host', authority(special.get(':authority'), hosts)],
      ...headers,
      ...(cookies.length > 0 ? ['cookie', cookies.join('; ')] : []),
    ],
    http2: {hasBody: !isWhole},
  }
}

/** `:authority` and `host` name one thing, where both are there. */
function authority(named: string | undefined, hosts: readonly string[]): string {
  const [first = named, ...others] = hosts
  if (first === undefined || first === '') throw new Denial('host_missing', {status: 400})
  if (others.length > 0) throw new Denial('header_repeated', {status: 400, detail: 'host'})
  if (named !== undefined && named.toLowerCase() !== first.toLowerCase())
    throw new Denial('target_mismatch', {status: 421, detail: `:authority ${named}, Host ${first}`})
  return first
}

function malformed(detail: string): Denial {
  return new Denial('http_malformed', {status: 400, detail})
}
