import {isIPv4} from 'node:net'
import {hostOf} from '../policy/dispatcher-hosts.js'
import type {ProjectSettings} from '../policy/settings.js'
import {upstreamKind} from '../policy/upstream-kind.js'
import {everyAddress} from './openings.js'

/** What the dispatcher's `gate` reaches besides nothing: exact ways, and ports at public addresses for names. */
export interface UpstreamWays {
  openings: {address: string; protocol: 'TCP' | 'UDP'; port: number}[]
  publicPorts: number[]
}

const HTTPS = 443
/** Beside github.com itself: the API, and where GitHub keeps logs. */
export const githubHost =
  /^(?:api\.github\.com|.+\.actions\.githubusercontent\.com|.+\.blob\.core\.windows\.net)$/

/** Addresses of everything that branches go to or come from, beside the dispatcher's own repositories. */
export function upstreamUrls({repository}: Pick<ProjectSettings, 'repository'>): string[] {
  const {upstream, read} = repository
  return [...new Set([...(upstream === 'hosted' ? [] : [upstream]), ...read])]
}

/** @param resolver `address` or `address:port`; asked only for upstreams without an exact way */
export function upstreamWays(
  settings: Pick<ProjectSettings, 'repository' | 'network'>,
  resolver: readonly string[],
): UpstreamWays {
  const {hosts, allowAddresses, upstreamProxy} = settings.network
  const isGithub = upstreamKind(settings.repository.upstream) === 'github'
  const names = new Set([...upstreamUrls(settings).map(hostOf), ...(isGithub ? ['api.github.com'] : [])])
  const exact = hosts.filter(({host}) => names.has(host) || (isGithub && githubHost.test(host)))
  const isNamed = [...names].some((name) => !exact.some(({host}) => host === name))
  const tcp = (address: string, port: number) => ({address, protocol: 'TCP' as const, port})
  if (upstreamProxy !== undefined) {
    // It finds addresses by itself: nothing else is dialled, and nobody is asked for a name.
    const {address, port} = proxyAt(upstreamProxy)
    const way = isNamed || isGithub ? [tcp(address, port)] : []
    return {openings: [...exact.map((one) => tcp(one.address, one.port)), ...way], publicPorts: []}
  }
  return {
    openings: [
      ...exact.map(({address, port}) => tcp(address, port)),
      ...(isNamed ? allowAddresses.flatMap(everyAddress).map((address) => tcp(address, HTTPS)) : []),
      ...(isNamed ? resolver.flatMap(resolverWays) : []),
    ],
    publicPorts: isNamed ? [HTTPS] : [],
  }
}

/** @param url `http://address:port` of `network.upstreamProxy` */
export function proxyAt(url: string): {address: string; port: number} {
  const {hostname, port} = new URL(url)
  return {address: hostname, port: Number(port || 80)}
}

function resolverWays(resolver: string): UpstreamWays['openings'] {
  const [address = '', port] = resolver.split(':')
  if (!isIPv4(address)) return []
  return (['UDP', 'TCP'] as const).map((protocol) => ({address, protocol, port: Number(port ?? 53)}))
}

/** As the fence of a pod reads them. */
export function fenceEntries({openings}: UpstreamWays): string[] {
  return openings.map(({address, protocol, port}) => `${address}/${protocol.toLowerCase()}/${port}`)
}
