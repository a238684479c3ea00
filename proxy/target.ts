import {canonicalAuthority, canonicalHost, isRefused} from '../policy/canonical.js'
import {Denial} from './denial.js'

/** What an intercepted connection said about where it goes, before any request on it was read. */
export interface ConnectionTarget {
  /** `connect`: explicit CONNECT · `name`: a synthetic address · `address`: a literal address, its number is lost · `absolute`: the proxy port itself */
  via: 'connect' | 'name' | 'address' | 'absolute'
  scheme: 'https' | 'http'
  /** canonical, from CONNECT or the synthetic address */
  host?: string
  port: number
  /** canonical, from the TLS handshake */
  sni?: string
}

export interface Endpoint {
  scheme: 'https' | 'http'
  host: string
  port: number
}

const defaultPort = {https: 443, http: 80} as const

/** The one endpoint that CONNECT or address, TLS name and Host agree on. Throws Denial 421, or 403 for addresses. */
export function agreedEndpoint(target: ConnectionTarget, hostHeader: string): Endpoint {
  const {scheme, port} = target
  const known = target.host ?? target.sni
  // Letter for letter the canonical name that the connection was made for: nothing is left to read.
  if (hostHeader === known && port === defaultPort[scheme] && (target.sni ?? known) === known)
    return {scheme, host: known, port}
  const named = canonicalAuthority(hostHeader, defaultPort[scheme])
  if (isRefused(named)) throw new Denial(named.refused, {status: 400})
  const names = [target.host, target.sni, named.host].filter((name) => name !== undefined)
  if (named.port !== port || names.some((name) => name !== named.host)) {
    throw new Denial('target_mismatch', {
      status: 421,
      detail: `connection ${target.host ?? target.via}:${port}, TLS ${target.sni ?? '-'}, Host ${named.host}:${named.port}`,
    })
  }
  if (named.kind !== 'name') throw new Denial('address_literal')
  // Plain HTTP to a literal address: only the agent's word says which name it meant.
  if (target.host === undefined && target.sni === undefined)
    throw new Denial('address_literal', {detail: `Host ${named.host}`})
  return {scheme, host: named.host, port}
}

/** `CONNECT host:port`: a name with an explicit port. Throws Denial. */
export function connectTarget(
  authority: string,
  hostHeader: string | undefined,
): ConnectionTarget & {host: string} {
  if (!/:\d{1,5}$/.test(authority)) throw new Denial('authority_syntax', {status: 400})
  const named = canonicalAuthority(authority, 0)
  if (isRefused(named)) throw new Denial(named.refused, {status: 400})
  const header = canonicalAuthority(hostHeader ?? authority, named.port)
  if (isRefused(header)) throw new Denial(header.refused, {status: 400})
  if (header.host !== named.host || header.port !== named.port)
    throw new Denial('target_mismatch', {status: 421})
  if (named.kind !== 'name') throw new Denial('address_literal')
  return {via: 'connect', scheme: 'https', host: named.host, port: named.port}
}

/** An absolute-form request on the proxy port: its URL is the target, and Host must name the same. Throws Denial. */
export function absoluteTarget(url: string): {target: ConnectionTarget & {host: string}; rest: string} {
  const [, scheme, authority, rest = ''] = /^(https?):\/\/([^/?#]*)([/?].*)?$/i.exec(url) ?? []
  if (scheme === undefined || authority === undefined) throw new Denial('not_a_proxy_request', {status: 400})
  const plain = scheme.toLowerCase() === 'http' ? 'http' : 'https'
  const named = canonicalAuthority(authority, defaultPort[plain])
  if (isRefused(named)) throw new Denial(named.refused, {status: 400})
  if (named.kind !== 'name') throw new Denial('address_literal')
  const target = {via: 'absolute', scheme: plain, host: named.host, port: named.port} as const
  return {target, rest: rest.startsWith('/') ? rest : `/${rest}`}
}

/** The name in a TLS handshake, canonical; undefined when it is absent, an address or malformed. */
export function canonicalSni(name: string | false | null | undefined): string | undefined {
  if (typeof name !== 'string') return undefined
  const host = canonicalHost(name)
  return isRefused(host) || host.kind !== 'name' ? undefined : host.host
}
