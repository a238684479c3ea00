import {isIPv4} from 'node:net'
import {CageError} from '../core/errors.js'
import type {Transport} from './transport/transport.js'

/** One exact opening of an address that pods otherwise never reach. */
export interface FirewallOpening {
  /** IPv4 address, or CIDR no wider than /28 */
  address: string
  protocol: 'tcp' | 'udp'
  port: number
}

export interface FirewallSettings {
  /** ClusterIP of the dispatcher's service; absent until it exists */
  dispatcher?: {address: string; port: number}
  /** the one DNS server pods may ask */
  resolver: string
  /** every IPv4 address of the computer around the machine: never reached, public or not */
  computer: readonly string[]
  /** reachable on every public address */
  publicPorts: readonly {protocol: 'tcp' | 'udp'; port: number}[]
  openings: readonly FirewallOpening[]
}

const script = '/usr/local/lib/cage/firewall.sh'

/** The ruleset as text, one opening a line, sorted: what firewall.sh reads. Errors: FIREWALL_OPENING. */
export function firewallLines(settings: FirewallSettings): string {
  const {dispatcher, resolver, computer, publicPorts, openings} = settings
  for (const {address, port} of openings) {
    const [host = '', prefix] = address.split('/')
    const narrow =
      prefix === undefined || (/^\d{2}$/.test(prefix) && Number(prefix) >= 28 && Number(prefix) <= 32)
    if (!isIPv4(host) || !narrow || !Number.isInteger(port) || port < 1 || port > 65535) {
      throw new CageError(`not an exact opening: ${address} port ${port}`, {
        code: 'FIREWALL_OPENING',
        hints: ['Name an IPv4 address, or a range of /28 or narrower.'],
      })
    }
  }
  const lines = [
    ...(dispatcher ? [`dispatcher ${dispatcher.address} ${dispatcher.port}`] : []),
    `resolver ${resolver}`,
    ...computer.filter((address) => isIPv4(address)).map((address) => `computer ${address}`),
    ...publicPorts.map(({protocol, port}) => `public ${protocol} ${port}`),
    ...openings.map(({address, protocol, port}) => `opening ${address} ${protocol} ${port}`),
  ]
  return `${[...new Set(lines)].sort().join('\n')}\n`
}

/** True when exactly these rules are loaded on the machine. */
export async function firewallIs(
  transport: Transport,
  settings: FirewallSettings,
  signal?: AbortSignal,
): Promise<boolean> {
  const argv = [script, 'loaded'] as const
  const {code, stdout} = await transport.run({argv, timeoutMs: 10_000, ...(signal ? {signal} : {})})
  return code === 0 && stdout.toString() === firewallLines(settings)
}

/** Loads the machine's firewall for pods in one transaction. Errors: FIREWALL_NOT_LOADED; the former rules then still hold. */
export async function applyFirewall(
  transport: Transport,
  settings: FirewallSettings,
  signal?: AbortSignal,
): Promise<void> {
  const {code, stderr} = await transport.run({
    argv: [script, 'apply'],
    input: firewallLines(settings),
    timeoutMs: 30_000,
    ...(signal ? {signal} : {}),
  })
  if (code !== 0) {
    throw new CageError(`the machine's firewall was not loaded: ${stderr.trim()}`, {
      code: 'FIREWALL_NOT_LOADED',
    })
  }
}
