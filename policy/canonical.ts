import {isIPv6} from 'node:net'
import {domainToASCII} from 'node:url'
import {formatIp, parseIp} from './addresses.js'

/** Host, authority and path in one form each. Decide on it and use the same value afterwards. */

export interface Refused {
  /** stable, lower snake case, for audit lines */
  refused: string
}

export interface CanonicalHost {
  kind: 'name' | 'ipv4' | 'ipv6'
  /** lower-case ASCII name without trailing dot, dotted IPv4, or compressed IPv6 without brackets */
  host: string
}

export interface CanonicalAuthority extends CanonicalHost {
  port: number
}

export interface CanonicalTarget {
  path: string
  /** without `?`; empty = none */
  query: string
}

export function isRefused(value: object): value is Refused {
  return 'refused' in value
}

const refuse = (refused: string): Refused => ({refused})
// Default-ignorable code points: a resolver drops them, a person does not see them.
const invisible = /\p{Default_Ignorable_Code_Point}/u
const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/

/** A host without port: a name, an IPv4 address in any notation a resolver knows, or an IPv6 address, with or without brackets. */
export function canonicalHost(raw: string): CanonicalHost | Refused {
  if (raw === '') return refuse('host_empty')
  if (raw.length > 1024) return refuse('host_too_long')
  if (/[\u0000-\u0020\u007f-\u009f]/.test(raw)) return refuse('host_control_character')
  if (raw.startsWith('[')) return raw.endsWith(']') ? canonicalIpv6(raw.slice(1, -1)) : refuse('host_syntax')
  if (raw.includes(':'))
    return isIPv6(raw) || raw.includes('%') ? canonicalIpv6(raw) : refuse('host_with_port')
  if (/[%@/\\?#[\]<>^|*]/.test(raw)) return refuse('host_syntax')
  if (invisible.test(raw)) return refuse('host_invisible_character')
  const ascii = isAscii(raw) ? raw.toLowerCase() : domainToASCII(raw)
  const name = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii
  if (name === '' || name.length > 253) return refuse('host_syntax')
  const labels = name.split('.')
  if (/^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')) return canonicalIpv4(labels)
  for (const part of labels) {
    if (!label.test(part)) return refuse('host_syntax')
    if (part.startsWith('xn--') && domainToASCII(part) !== part) return refuse('host_punycode')
  }
  return {kind: 'name', host: name}
}

/** `host`, `host:port` or `[v6]:port` as in CONNECT, Host and `:authority`; userinfo is refused. */
export function canonicalAuthority(raw: string, defaultPort: number): CanonicalAuthority | Refused {
  if (raw.includes('@')) return refuse('host_userinfo')
  const match = /^(\[[^[\]]*\]|[^:[\]]*)(?::([1-9]\d{0,4}))?$/.exec(raw)
  if (!match) return refuse('authority_syntax')
  const host = canonicalHost(match[1] ?? '')
  if (isRefused(host)) return host
  const port = match[2] === undefined ? defaultPort : Number(match[2])
  return port > 65535 ? refuse('authority_syntax') : {...host, port}
}

/** An origin-form request target. Encoded unreserved characters are decoded, dot segments resolved, `;params` removed. */
export function canonicalTarget(raw: string): CanonicalTarget | Refused {
  const question = raw.indexOf('?')
  const query = question < 0 ? '' : raw.slice(question + 1)
  const path = canonicalPath(question < 0 ? raw : raw.slice(0, question))
  if (typeof path !== 'string') return path
  if (/[^\u0021-\u007e]|[#\\]/.test(query)) return refuse('query_character')
  return {path, query}
}

/** The path alone; refuses what two parsers could read in two ways. */
export function canonicalPath(raw: string): string | Refused {
  if (!raw.startsWith('/')) return refuse('path_not_absolute')
  if (raw.includes('\\')) return refuse('path_backslash')
  if (/[^\u0021-\u007e]|[?#]/.test(raw)) return refuse('path_character')
  const decoded = decodePath(raw)
  if (typeof decoded !== 'string') return decoded
  const kept: string[] = []
  const segments = decoded.slice(1).split('/')
  for (const segment of segments) {
    const name = segment.split(';', 1)[0] ?? ''
    if (name === '..') {
      if (kept.pop() === undefined) return refuse('path_above_root')
    } else if (name !== '.' && name !== '') kept.push(name)
  }
  const last = (segments.at(-1) ?? '').split(';', 1)[0] ?? ''
  const folder = kept.length > 0 && (last === '' || last === '.' || last === '..')
  return `/${kept.join('/')}${folder ? '/' : ''}`
}

/** Decodes what needs no escape; refuses escapes that hide a separator, a control character or a second escape of these. */
function decodePath(raw: string): string | Refused {
  if (!raw.includes('%')) return raw
  if (/%(?![0-9a-f]{2})/i.test(raw)) return refuse('path_escape')
  if (/%(?:25)*(?:00|5c)/i.test(raw) || /%(?:25)+(?:2e|2f)/i.test(raw)) return refuse('path_escape')
  if (/%(?:[01][0-9a-f]|7f)/i.test(raw)) return refuse('path_escape')
  // npm asks for `/@scope%2fname`: the one separator that is decoded, and then judged and forwarded as one.
  const scoped = raw.replace(/(^|\/)(@[a-z0-9~._-]+)%2f(?=[a-z0-9~_-][a-z0-9~._-]*(?:\/|$))/gi, '$1$2/')
  if (/%2f/i.test(scoped)) return refuse('path_encoded_slash')
  if (!isUtf8(scoped)) return refuse('path_encoding')
  return scoped.replace(/%([0-9a-f]{2})/gi, (escape, hex: string) => {
    const character = String.fromCharCode(parseInt(hex, 16))
    return /[A-Za-z0-9._~-]/.test(character) ? character : escape.toUpperCase()
  })
}

function isUtf8(escaped: string): boolean {
  try {
    decodeURIComponent(escaped)
    return true
  } catch {
    return false
  }
}

function isAscii(text: string): boolean {
  return /^[\u0000-\u007f]*$/.test(text)
}

function canonicalIpv6(text: string): CanonicalHost | Refused {
  if (text.includes('%')) return refuse('host_zone_id')
  const parsed = parseIp(text)
  return parsed?.length === 16 ? {kind: 'ipv6', host: formatIp(parsed)} : refuse('host_syntax')
}

/** inet_aton's notations: one to four parts, decimal, octal or hexadecimal, the last part fills the rest. */
function canonicalIpv4(labels: readonly string[]): CanonicalHost | Refused {
  if (labels.length > 4) return refuse('host_numeric')
  const parts = labels.map((part) => {
    if (/^0x[0-9a-f]+$/.test(part)) return parseInt(part.slice(2), 16)
    if (/^0[0-7]*$/.test(part)) return parseInt(part, 8)
    return /^[1-9]\d*$/.test(part) ? Number(part) : NaN
  })
  const last = parts.pop() ?? NaN
  const room = 256 ** (4 - parts.length)
  if (parts.some((part) => !(part <= 255)) || !(last < room)) return refuse('host_numeric')
  const value = parts.reduce((sum, part, index) => sum + part * 256 ** (3 - index), last)
  const bytes = [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256)
  return {kind: 'ipv4', host: bytes.join('.')}
}
