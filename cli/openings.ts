import {isIPv4} from 'node:net'
import {dispatcherHosts} from '../policy/dispatcher-hosts.js'
import type {NetworkSettings, ProjectSettings} from '../policy/settings.js'

/** A way out of the ordinary that somebody opened: exact in sidecar, fence and firewall alike. */
export interface Opening {
  /** IPv4 address, or words for what has no address */
  address: string
  /** 0 = has no port */
  port: number
  why: string
}

export interface Openings {
  /** TCP, for fence and firewall */
  openings: Opening[]
  /** TCP ports that rules may use on public addresses */
  publicPorts: number[]
}

/** Everything private or special that tasks of this project may be let through to, from the operator's own file. */
export function openingsOf({network, egress}: Pick<ProjectSettings, 'network' | 'egress'>): Openings {
  const rulePorts = [...egress.allow, ...egress.audit].flatMap(({port}) => (port === undefined ? [] : [port]))
  const publicPorts = [...new Set([80, 443, ...rulePorts])].sort((a, b) => a - b)
  return {openings: [...addressed(network, publicPorts), ...routed(egress.routes)], publicPorts}
}

/** The same for the fences of tasks: an exact way to a host that only the dispatcher speaks to is not theirs. */
export function taskOpenings(settings: ProjectSettings): Opening[] {
  const routed = dispatcherHosts(settings.repository)
  const {network} = settings
  const hosts = network.hosts.filter(({host}) => !routed.includes(host))
  return openingsOf({...settings, network: {...network, hosts}}).openings
}

/** Ways out that are no address: for people, not for the packet filters. */
export function wideOpenings({network, egress}: Pick<ProjectSettings, 'network' | 'egress'>): Opening[] {
  return [
    ...(egress.presets.includes('read-the-web')
      ? [{address: 'any public host', port: 0, why: 'preset read-the-web: what a URL says can leave'}]
      : []),
    ...(network.upstreamProxy === undefined
      ? []
      : [
          {
            address: network.upstreamProxy,
            port: 0,
            why: 'this proxy resolves names: the address guard is off behind it',
          },
        ]),
  ]
}

function addressed(
  {hosts, allowAddresses, upstreamProxy}: NetworkSettings,
  ports: readonly number[],
): Opening[] {
  const proxy = upstreamProxy === undefined ? undefined : new URL(upstreamProxy)
  return [
    ...hosts.map(({host, address, port}) => ({address, port, why: `network.hosts: ${host}`})),
    ...allowAddresses
      .flatMap(everyAddress)
      .flatMap((address) =>
        ports.map((port) => ({address, port, why: 'network.allowAddresses: counts as the internet here'})),
      ),
    ...(proxy && isIPv4(proxy.hostname)
      ? [{address: proxy.hostname, port: Number(proxy.port || 80), why: 'network.upstreamProxy'}]
      : []),
  ]
}

function routed(routes: ProjectSettings['egress']['routes']): Opening[] {
  return routes.map(({name, url, address}) => {
    const {port, protocol} = new URL(url)
    return {address, port: Number(port || (protocol === 'https:' ? 443 : 80)), why: `route ${name}`}
  })
}

/** The packet filters match single addresses: a range of at most /28 becomes its sixteen or fewer. */
export function everyAddress(cidr: string): string[] {
  const [address = '', prefix = '32'] = cidr.split('/')
  if (!isIPv4(address)) return []
  const number = address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)
  const count = 2 ** (32 - Number(prefix))
  const first = Math.floor(number / count) * count
  return Array.from({length: count}, (_, i) =>
    [24, 16, 8, 0].map((shift) => Math.floor((first + i) / 2 ** shift) % 256).join('.'),
  )
}
