import {isIPv4, isIPv6} from 'node:net'
import {CageError, ExitCode} from '../core/errors.js'

/** IP addresses as bytes (4 or 16), their class, and the operator's exact exceptions. */

export type AddressClass =
  | 'public'
  | 'benchmark'
  | 'broadcast'
  | 'cgnat'
  | 'documentation'
  | 'link-local'
  | 'loopback'
  | 'metadata'
  | 'multicast'
  | 'private'
  | 'reserved'
  | 'tunnel'
  | 'unspecified'

/** First match wins. Sources: IANA special-purpose registries; metadata addresses from the clouds' documentation. */
const table: readonly (readonly [AddressClass, string])[] = [
  // AWS, Google, Azure, Oracle, OpenStack, DigitalOcean, Hetzner, IBM
  ['metadata', '169.254.169.254/32'],
  // AWS ECS credentials and pod identity
  ['metadata', '169.254.170.2/32'],
  ['metadata', '169.254.170.23/32'],
  // Tencent
  ['metadata', '169.254.0.23/32'],
  // Alibaba
  ['metadata', '100.100.100.200/32'],
  // Azure wire server
  ['metadata', '168.63.129.16/32'],
  // Oracle
  ['metadata', '192.0.0.192/32'],
  // AWS on IPv6: instance metadata, DNS, time, pod identity
  ['metadata', 'fd00:ec2::/32'],
  // Google on IPv6
  ['metadata', 'fd20:ce::254/128'],
  // Oracle, Scaleway, Alibaba/others on IPv6
  ['metadata', 'fd00:c1::a9fe:a9fe/128'],
  ['metadata', 'fd00:42::42/128'],
  ['metadata', 'fd00:a9fe:a9fe::1/128'],
  ['metadata', 'fd00:100::100:200/128'],
  ['metadata', 'fe80::a9fe:a9fe/128'],
  ['unspecified', '0.0.0.0/8'],
  ['private', '10.0.0.0/8'],
  ['cgnat', '100.64.0.0/10'],
  ['loopback', '127.0.0.0/8'],
  ['link-local', '169.254.0.0/16'],
  ['private', '172.16.0.0/12'],
  ['reserved', '192.0.0.0/24'],
  ['documentation', '192.0.2.0/24'],
  ['reserved', '192.31.196.0/24'],
  ['reserved', '192.52.193.0/24'],
  ['tunnel', '192.88.99.0/24'],
  ['private', '192.168.0.0/16'],
  ['reserved', '192.175.48.0/24'],
  ['benchmark', '198.18.0.0/15'],
  ['documentation', '198.51.100.0/24'],
  ['documentation', '203.0.113.0/24'],
  ['multicast', '224.0.0.0/4'],
  ['broadcast', '255.255.255.255/32'],
  ['reserved', '240.0.0.0/4'],
  ['unspecified', '::/128'],
  ['loopback', '::1/128'],
  ['private', '64:ff9b:1::/48'],
  ['reserved', '100::/63'],
  ['tunnel', '2001::/32'],
  ['benchmark', '2001:2::/48'],
  ['documentation', '2001:db8::/32'],
  ['reserved', '2001::/23'],
  ['documentation', '3fff::/20'],
  ['reserved', '5f00::/16'],
  ['private', 'fc00::/7'],
  ['link-local', 'fe80::/10'],
  ['private', 'fec0::/10'],
  ['multicast', 'ff00::/8'],
]

/** No opening can ever make these reachable. */
const neverOpen: ReadonlySet<AddressClass> = new Set([
  'broadcast',
  'link-local',
  'loopback',
  'metadata',
  'multicast',
  'unspecified',
])

export interface Cidr {
  bytes: Uint8Array
  prefix: number
}

/** Bytes of an address in the notation of RFC 4291 or dotted decimal; undefined for anything else, zone ids included. */
export function parseIp(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number)
  if (!isIPv6(text) || text.includes('%')) return undefined
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text)
  const hex = dotted ? `${dotted[1] ?? ''}${pair(dotted[2], dotted[3])}:${pair(dotted[4], dotted[5])}` : text
  const [left = '', right] = hex.split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const words = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail]
  return Uint8Array.from(words.flatMap((word) => [parseInt(word, 16) >> 8, parseInt(word, 16) & 255]))
}

function pair(high: string | undefined, low: string | undefined): string {
  return (Number(high) * 256 + Number(low)).toString(16)
}

/** Dotted decimal, or IPv6 as RFC 5952 writes it. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const words = Array.from({length: 8}, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0))
  let best = {start: -1, length: 1}
  for (let start = 0; start < 8; start++) {
    let end = start
    while (end < 8 && words[end] === 0) end++
    if (end - start > best.length) best = {start, length: end - start}
  }
  const hex = words.map((word) => word.toString(16))
  if (best.start < 0) return hex.join(':')
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`
}

/** `ADDRESS/PREFIX`, the prefix written out and without host bits; undefined for anything else. */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text)
  const bytes = match ? parseIp(match[1] ?? '') : undefined
  const prefix = Number(match?.[2])
  if (!bytes || prefix > bytes.length * 8) return undefined
  const cidr = {bytes, prefix}
  return bytes.every((byte, index) => byte === (byte & maskByte(prefix, index))) ? cidr : undefined
}

function maskByte(prefix: number, index: number): number {
  const bits = Math.max(0, Math.min(8, prefix - index * 8))
  return (0xff00 >> bits) & 0xff
}

export function inCidr(bytes: Uint8Array, cidr: Cidr): boolean {
  if (bytes.length !== cidr.bytes.length) return false
  for (let index = 0; index * 8 < cidr.prefix; index++)
    if (((bytes[index] ?? 0) & maskByte(cidr.prefix, index)) !== cidr.bytes[index]) return false
  return true
}

const compiled = table.map(([kind, text]) => {
  const cidr = parseCidr(text)
  if (!cidr) throw new CageError(`address table: ${text}`, {code: 'ADDRESS_TABLE'})
  return {kind, cidr}
})

const embeddings: readonly {prefix: string; offset: number}[] = [
  // v4-mapped, SIIT, NAT64, v4-compatible, 6to4
  {prefix: '::ffff:0:0/96', offset: 12},
  {prefix: '::ffff:0:0:0/96', offset: 12},
  {prefix: '64:ff9b::/96', offset: 12},
  {prefix: '2002::/16', offset: 2},
  {prefix: '::/96', offset: 12},
]
const compiledEmbeddings = embeddings.map(({prefix, offset}) => ({cidr: parseCidr(prefix), offset}))

/** The IPv4 address inside an IPv6 one (mapped, compatible, SIIT, NAT64, 6to4, ISATAP); the address itself otherwise. */
export function innermost(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 4) return bytes
  const isatap = bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe && ((bytes[8] ?? 0) & 0xfd) === 0
  if (isatap) return bytes.slice(12)
  if (bytes.subarray(0, 15).every((byte) => byte === 0)) return bytes
  const found = compiledEmbeddings.find(({cidr}) => cidr && inCidr(bytes, cidr))
  return found ? bytes.slice(found.offset, found.offset + 4) : bytes
}

/** The class of an address, judged by what it really reaches; undefined = not an address. */
export function classify(text: string): AddressClass | undefined {
  const bytes = parseIp(text)
  return bytes && classifyBytes(bytes)
}

function classifyBytes(bytes: Uint8Array): AddressClass {
  const inner = innermost(bytes)
  return compiled.find(({cidr}) => inCidr(inner, cidr))?.kind ?? 'public'
}

/** One of the operator's `allowAddresses`; throws CageError ADDRESS_OPENING, exit 2. */
export function parseOpening(text: string): Cidr {
  const cidr = parseCidr(text)
  if (!cidr)
    throw openingError(text, 'expected ADDRESS/PREFIX with the prefix written out and no host bits set')
  const shortest = cidr.bytes.length === 4 ? 28 : 124
  if (cidr.prefix < shortest) throw openingError(text, `must be /${shortest} or longer`)
  const kind = classifyBytes(cidr.bytes)
  if (neverOpen.has(kind)) throw openingError(text, `${kind} addresses can never be opened`)
  // A table entry may lie inside the range even when its first address does not.
  const hidden = compiled.find((entry) => neverOpen.has(entry.kind) && inCidr(entry.cidr.bytes, cidr))
  if (hidden) throw openingError(text, `contains a ${hidden.kind} address, which can never be opened`)
  return cidr
}

function openingError(text: string, problem: string): CageError {
  return new CageError(`allowAddresses: ${text}: ${problem}`, {
    code: 'ADDRESS_OPENING',
    exitCode: ExitCode.usage,
  })
}

export interface AddressVerdict {
  allowed: boolean
  kind: AddressClass | 'not-an-address'
}

/**
 * Judges the addresses a name resolved to and the one that is dialled.
 * @param allow CIDRs as in `EgressGrant.allowAddresses`
 */
export function compileAddressGuard(allow: readonly string[]): (address: string) => AddressVerdict {
  const openings = allow.map(parseOpening)
  return (address) => {
    const bytes = parseIp(address)
    if (!bytes) return {allowed: false, kind: 'not-an-address'}
    const inner = innermost(bytes)
    const kind = classifyBytes(inner)
    const opened = !neverOpen.has(kind) && openings.some((cidr) => inCidr(inner, cidr))
    return {allowed: kind === 'public' || opened, kind}
  }
}

/** Whether an exact opening (a route, `network.hosts`, the resolver) may name this address at all. */
export function mayBeOpened(address: string): boolean {
  const kind = classify(address)
  return kind !== undefined && !neverOpen.has(kind)
}
