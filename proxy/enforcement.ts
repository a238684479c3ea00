import {isIP} from 'node:net'
import {compileAddressGuard, mayBeOpened, type AddressVerdict} from '../policy/addresses.js'
import {
  compileEgress,
  type EgressDecision,
  type EgressMatcher,
  type EgressRequest,
} from '../policy/decide-egress.js'
import type {CredentialBinding, EgressGrant, EgressRoute, HostRoute} from '../policy/grant.js'
import {decideWithRoutes, isModelHost} from '../policy/models.js'
import {CageError} from '../core/errors.js'
import {gitHost} from '../core/layout.js'
import {createScanner} from '../scan/scanner.js'
import {CleanTexts, placeholderId, type Detectors} from './inspect.js'
import {parseNameServer, Resolver} from './names/resolver.js'
import {secretsIn} from './sigv4.js'
import type {Endpoint} from './target.js'

export interface KnownName {
  /** the part a `*` stood for, when no exact entry names the host */
  wildcard?: string
}

/** One grant, compiled: what every later step asks. Never changed, only replaced as a whole. */
export class Enforcement {
  readonly grant: EgressGrant
  readonly handle: string
  readonly judgeAddress: (address: string) => AddressVerdict
  readonly resolver: Resolver
  readonly #matcher: EgressMatcher
  readonly #values: ReadonlyMap<string, string>
  readonly #dispatcherHosts: ReadonlySet<string>
  readonly #hosts: ReadonlyMap<string, HostRoute>
  readonly #routes: ReadonlyMap<string, EgressRoute>
  readonly #strict: Detectors['strict'] & Detectors['body']
  readonly #clean = new CleanTexts()
  readonly #ownBody = new Map<string, Detectors['body']>()

  /** Throws CageError when an entry cannot be what it says, e.g. an address that may never be opened. */
  constructor(grant: EgressGrant, handle: string, values: ReadonlyMap<string, string>) {
    this.grant = grant
    this.handle = handle
    this.#values = values
    this.judgeAddress = compileAddressGuard(grant.allowAddresses)
    this.resolver = new Resolver(grant.resolver.map(parseNameServer))
    this.#matcher = compileEgress(grant.rules)
    this.#dispatcherHosts = new Set([gitHost, ...grant.dispatcher.hosts])
    this.#hosts = new Map(grant.hosts.map((entry) => [entry.host, entry]))
    this.#routes = new Map(grant.routes.map((entry) => [entry.name, entry]))
    this.#strict = this.#scanner([])
    for (const {host, port} of grant.credentials) {
      this.#ownBody.set(`${host}:${port}`, this.#scanner(this.bindingsOf(host, port)))
    }
    const addresses = [
      grant.dispatcher.address,
      ...[...grant.hosts, ...grant.routes].map(({address}) => address),
    ]
    for (const address of addresses) {
      if (isIP(address) && mayBeOpened(address)) continue
      throw new CageError(`grant refused: ${address} is no address that can be opened`, {
        code: 'GRANT_ADDRESS',
      })
    }
  }

  isDispatcherHost(host: string): boolean {
    return this.#dispatcherHosts.has(host)
  }

  /** Whether anything may be said to this name at all; only then does it get an address. */
  knowsName(name: string): KnownName | undefined {
    if (this.#dispatcherHosts.has(name) || this.#routes.has(name) || this.#matcher.namesHost(name)) return {}
    if (!this.#matcher.knowsHost(name)) return undefined
    const suffixes = this.grant.rules
      .filter(({host, effect}) => effect !== 'deny' && host.startsWith('*.') && name.endsWith(host.slice(1)))
      .map(({host}) => host.length - 1)
    return {wildcard: name.slice(0, name.length - Math.max(...suffixes))}
  }

  decide(request: EgressRequest): EgressDecision {
    return decideWithRoutes(this.#matcher, this.#routes.has(request.host), request)
  }

  /** Whether the caller's own credentials are dropped: it is the person's account there, or nobody's. */
  stripsCallers(host: string, port: number): boolean {
    return this.#routes.has(host) || isModelHost(host) || this.bindingsOf(host, port).length > 0
  }

  inspectsMcp(place: Pick<EgressRequest, 'host' | 'port' | 'path'>): boolean {
    return this.#matcher.inspectsMcp(place)
  }

  hostRoute(host: string): HostRoute | undefined {
    return this.#hosts.get(host)
  }

  route(host: string): EgressRoute | undefined {
    return this.#routes.get(host)
  }

  /** Where the route of that name leads. */
  routeUrl(host: string): URL | undefined {
    const route = this.#routes.get(host)
    return route && new URL(route.url)
  }

  bindingsOf(host: string, port: number): readonly CredentialBinding[] {
    return this.grant.credentials.filter((binding) => binding.host === host && binding.port === port)
  }

  /** The real value of a credential; undefined = the person's side gave none. */
  valueOf(credential: string): string | undefined {
    return this.#values.get(credential)
  }

  /** @param patterns whether patterns count besides the exact values */
  detectors({host, port}: Pick<Endpoint, 'host' | 'port'>, patterns = true): Detectors {
    const body = this.#ownBody.get(`${host}:${port}`) ?? this.#strict
    const auditBody = this.grant.detectors.audit.includes(host)
    return {strict: this.#strict, clean: this.#clean, body, auditBody, patterns}
  }

  /** Every real value, what the dispatcher holds, and each placeholder that is not inert. Throws CageError for values too short to be told from text. */
  #scanner(inert: readonly CredentialBinding[]): Detectors['body'] {
    const parts = (id: string, value: string) => {
      const binding = this.grant.credentials.find(({name}) => name === id)
      return binding ? secretsIn(binding, value) : [value]
    }
    const values = [['handle', this.handle] as const, ...this.#values].flatMap(([id, value]) =>
      parts(id, value).map((part) => ({id, value: part})),
    )
    const placeholders = this.grant.credentials
      .filter((binding) => !inert.includes(binding))
      .map(({name, placeholder}) => ({id: placeholderId + name, value: placeholder}))
    return createScanner({
      exact: [...values, ...placeholders],
      fingerprints: this.grant.issued ?? [],
      inert: inert.map(({placeholder}) => placeholder),
    })
  }
}
