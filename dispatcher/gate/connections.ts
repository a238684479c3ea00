import {Resolver} from 'node:dns/promises'
import {Agent} from 'node:https'
import type {LookupFunction} from 'node:net'
import {compileAddressGuard} from '../../policy/addresses.js'
import {TunnelAgent, type UpstreamProxy} from './tunnel-agent.js'

/** How a host is reached: by name, or on the operator's exact way. */
export interface HostWay {
  host: string
  /** TCP port that is dialled */
  port: number
  /** absent = by name, public addresses only */
  address?: string
  /** PEM; absent = public roots */
  ca?: string
}

/** Said by the CLI; may change while this runs. */
export interface NetworkWay {
  /** `address` or `address:port` */
  readonly resolver: readonly string[]
  /** CIDRs that count as public on this network */
  readonly allowAddresses: readonly string[]
  /** leads to every host without an exact way, and finds its address */
  readonly upstreamProxy: UpstreamProxy | undefined
}

/** servers close idle connections after five seconds and more; one that is about to be closed is not used */
const REUSE_MS = 4000

/** Connections to the outside: TLS, kept alive, to the addresses that hosts may have. */
export class Connections {
  readonly #network: NetworkWay
  readonly #agents = new Map<string, Agent>()

  constructor(network: NetworkWay) {
    this.#network = network
  }

  agentOf({host, port, address, ca}: HostWay): Agent {
    const proxy = address === undefined ? this.#network.upstreamProxy : undefined
    const key = JSON.stringify([host, port, address, ca, proxy])
    const known = this.#agents.get(key)
    if (known) return known
    const options = {
      keepAlive: true,
      maxSockets: 64,
      minVersion: 'TLSv1.2' as const,
      servername: host,
      timeout: REUSE_MS,
      ...(ca === undefined ? {} : {ca}),
    }
    const agent = proxy
      ? new TunnelAgent(proxy, `${host}:${port}`, options)
      : new Agent({...options, ...(address === undefined ? {lookup: this.#lookup()} : {})})
    this.#agents.set(key, agent)
    return agent
  }

  /** By the operator's resolver and no file of this container; an answer that is no public address is no answer. */
  #lookup(): LookupFunction {
    return (name, options, done) => {
      this.#addresses(name).then(
        (addresses) =>
          options.all === true
            ? done(
                null,
                addresses.map((address) => ({address, family: 4})),
              )
            : done(null, addresses[0] ?? '', 4),
        (error: unknown) => done(error as NodeJS.ErrnoException, ''),
      )
    }
  }

  async #addresses(name: string): Promise<string[]> {
    const resolver = new Resolver({timeout: 5000, tries: 3})
    if (this.#network.resolver.length === 0) throw new Error('there is no resolver')
    resolver.setServers([...this.#network.resolver])
    const mayDial = compileAddressGuard(this.#network.allowAddresses)
    const addresses = (await resolver.resolve4(name)).filter((address) => mayDial(address).allowed)
    if (addresses.length === 0) throw new Error('it has no public address')
    return addresses
  }
}
