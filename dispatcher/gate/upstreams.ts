import {isIPv4} from 'node:net'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import {upstreamName} from '../../policy/repository-name.js'
import {githubRepository, type GithubRepository} from '../../policy/github-repository.js'
import type {Fork} from '../github/forks.js'
import type {GithubIdentity} from '../github/identity.js'
import type {HostWay} from './connections.js'
import {TokenCredential, type Credential} from './credential.js'
import {GithubCredential} from './github-credential.js'
import {checkedGithub, type GithubSettings} from './github-settings.js'
import type {UpstreamProxy} from './tunnel-agent.js'

/** One repository at an upstream and the way to it, as the CLI says it over the control socket. */
export interface UpstreamSetting {
  /** https:// address as in `repository.upstream` or `repository.read` */
  url: string
  /** token or `user:password` */
  credential?: string
  /** nothing is ever pushed there */
  readOnly?: boolean
  /** the operator's exact way to this host (`network.hosts`); absent = by name: through the proxy, else public addresses only */
  address?: string
  port?: number
  /** PEM; absent = public roots */
  ca?: string
}

export interface UpstreamSettings {
  upstreams: UpstreamSetting[]
  /** `address` or `address:port` */
  resolver: string[]
  /** CIDRs that count as public on this network */
  allowAddresses: string[]
  /** the operator's own way out (`network.upstreamProxy`) */
  upstreamProxy?: UpstreamProxy
  /** only where the upstream is GitHub */
  github?: GithubSettings
}

export interface Upstream {
  /** `host/path.git` */
  name: string
  host: string
  /** TCP port that is dialled */
  port: number
  /** what stands before `/info/refs` */
  path: string
  address?: string
  ca?: string
  credential?: Credential
}

/** Where tasks push, found at GitHub. */
export interface FoundFork {
  /** https:// address */
  url: string
  upstream: Upstream
}

/** `host/path.git` of a fork and of the repository that it comes from. */
export interface ForkNames {
  name: string
  of: string
}

/** The upstreams of this project with their credentials: in memory only, so a new process waits until it is told again. */
export class Upstreams {
  readonly #identify: (settings: GithubSettings) => GithubIdentity
  readonly #onFork: (fork: ForkNames) => Promise<void>
  #byName: ReadonlyMap<string, Upstream> | undefined
  #github: {settings: GithubSettings; identity: GithubIdentity} | undefined
  #fork: Promise<Fork> | undefined
  #resolver: readonly string[] = []
  #allowAddresses: readonly string[] = []
  #upstreamProxy: UpstreamProxy | undefined

  /** @param onFork done before the fork is used */
  constructor(
    identify: (settings: GithubSettings) => GithubIdentity,
    onFork: (fork: ForkNames) => Promise<void>,
  ) {
    this.#identify = identify
    this.#onFork = onFork
  }

  /** Replaces everything. @returns the names. Errors: CONTROL_REQUEST, GITHUB_APP_KEY, CLASSIC_TOKEN */
  set(settings: unknown): string[] {
    const {upstreams, resolver, allowAddresses, upstreamProxy, github} = checked(settings)
    const known = this.#github
    const identity =
      github &&
      // The same again keeps its tokens.
      (JSON.stringify(known?.settings.who) === JSON.stringify(github.who)
        ? known?.identity
        : this.#identify(github))
    const entries = upstreams.map((setting) => upstreamOf(setting, identity))
    if (identity !== known?.identity || github?.forkOf !== known?.settings.forkOf) this.#fork = undefined
    this.#github = github && identity && {settings: github, identity}
    this.#byName = new Map(entries.map((upstream) => [upstream.name.toLowerCase(), upstream]))
    this.#resolver = resolver
    this.#allowAddresses = allowAddresses
    this.#upstreamProxy = upstreamProxy
    return entries.map(({name}) => name)
  }

  get resolver(): readonly string[] {
    return this.#resolver
  }

  get allowAddresses(): readonly string[] {
    return this.#allowAddresses
  }

  get upstreamProxy(): UpstreamProxy | undefined {
    return this.#upstreamProxy
  }

  /** Who the dispatcher is at GitHub. Errors: UPSTREAM_UNKNOWN */
  get github(): GithubIdentity {
    if (this.#github) return this.#github.identity
    throw unknown()
  }

  /** To a host of GitHub's that is no repository. */
  wayTo(host: string): HostWay {
    const way = this.#github?.settings.hosts.find((one) => one.host === host)
    return way ?? {host, port: 443}
  }

  /** What a task held at GitHub ends with it. @returns how many tokens could not be ended now */
  async end(task: string): Promise<number> {
    return (await this.#github?.identity.end(task)) ?? 0
  }

  /** Errors: UPSTREAM_UNKNOWN, and those of `fork` for what may be it */
  async get(name: string): Promise<Upstream> {
    const found = this.#byName?.get(name.toLowerCase())
    if (found) return found
    if (this.#github?.settings.forkOf !== undefined && name.startsWith('github.com/')) {
      const {upstream} = await this.fork().catch((cause: unknown) => {
        throw new CageError(messageOf(cause), {code: 'UPSTREAM_FORK', cause})
      })
      if (upstream.name.toLowerCase() === name.toLowerCase()) return upstream
    }
    throw unknown()
  }

  /** The fork that tasks push to: looked for once, and again after a failure. Errors: UPSTREAM_UNKNOWN, FORK_*, GITHUB_* */
  async fork(): Promise<FoundFork> {
    const {settings, identity} = this.#github ?? {}
    const url = settings?.forkOf ?? ''
    const of = githubRepository({kind: 'github', url})
    const origin = this.#byName?.get(upstreamName(url)?.toLowerCase() ?? '')
    if (!identity || !of || !origin) throw unknown()
    const search = (this.#fork ??= this.#lookFor(identity, of, origin.name))
    search.catch(() => {
      if (this.#fork === search) this.#fork = undefined
    })
    const {owner, name, installation} = await search
    const place = {repository: name, readOnly: false, ...(installation === undefined ? {} : {installation})}
    const credential = new GithubCredential(identity, place)
    return {url: addressOf({owner, name}), upstream: {...origin, ...placeOf({owner, name}), credential}}
  }

  async #lookFor(identity: GithubIdentity, of: GithubRepository, origin: string): Promise<Fork> {
    const fork = await identity.findFork(of)
    await this.#onFork({name: placeOf(fork).name, of: origin})
    return fork
  }

  /** The text without anything that is secret. */
  redact(text: string): string {
    const secrets = [
      ...[...(this.#byName?.values() ?? [])].flatMap(({credential}) => credential?.secrets() ?? []),
      ...(this.#github?.identity.secrets() ?? []),
    ]
    return [...new Set(secrets)].reduce((clean, secret) => clean.replaceAll(secret, '(hidden)'), text)
  }
}

function upstreamOf(
  {url, credential, readOnly, address, port, ca}: UpstreamSetting,
  identity: GithubIdentity | undefined,
): Upstream {
  const name = upstreamName(url)
  if (name === undefined) throw usage('an upstream is not an https:// address of a repository')
  const parsed = new URL(url)
  return {
    name,
    host: parsed.hostname,
    port: port ?? Number(parsed.port || 443),
    path: parsed.pathname.replace(/\/$/, ''),
    ...(address === undefined ? {} : {address}),
    ...(ca === undefined ? {} : {ca}),
    ...credentialOf(parsed, {credential, readOnly}, identity),
  }
}

function credentialOf(
  {hostname, pathname}: URL,
  {credential, readOnly = false}: {credential: string | undefined; readOnly: boolean | undefined},
  identity: GithubIdentity | undefined,
): {credential?: Credential} {
  if (identity && hostname === 'github.com') {
    const repository =
      pathname
        .split('/')
        .at(-1)
        ?.replace(/\.git$/, '') ?? ''
    return {credential: new GithubCredential(identity, {repository, readOnly})}
  }
  return credential === undefined ? {} : {credential: new TokenCredential(credential)}
}

function addressOf({owner, name}: GithubRepository): string {
  return `https://github.com/${owner}/${name}.git`
}

function placeOf({owner, name}: GithubRepository): Pick<Upstream, 'name' | 'path'> {
  return {name: `github.com/${owner}/${name}.git`, path: `/${owner}/${name}.git`}
}

function unknown(): CageError {
  return new CageError(
    'the dispatcher does not know the way to the upstream: it was started again, and a person has to run `cage up`',
    {code: 'UPSTREAM_UNKNOWN'},
  )
}

function checked(settings: unknown): UpstreamSettings {
  const {upstreams, resolver, allowAddresses, upstreamProxy, github} = settings as Partial<
    Record<keyof UpstreamSettings, unknown>
  >
  const isText = (value: unknown) => typeof value === 'string' && value !== ''
  const isOptional = (value: unknown) => value === undefined || isText(value)
  const isAddress = (value: unknown) => typeof value === 'string' && isIPv4(value)
  const isPort = (value: unknown) => Number.isInteger(value) && Number(value) > 0 && Number(value) < 65536
  const isProxy = (value: unknown) => {
    const {address, port} = (value ?? {}) as Partial<Record<keyof UpstreamProxy, unknown>>
    return isAddress(address) && isPort(port)
  }
  const texts = (value: unknown) => Array.isArray(value) && value.every(isText)
  const fits =
    texts(resolver) &&
    texts(allowAddresses) &&
    Array.isArray(upstreams) &&
    upstreams.every((one: Partial<Record<keyof UpstreamSetting, unknown>> | null) => {
      if (typeof one !== 'object' || one === null) return false
      const {url, credential, readOnly, address, port, ca} = one
      const isFlag = readOnly === undefined || typeof readOnly === 'boolean'
      const isWay = (address === undefined || isAddress(address)) && (port === undefined || isPort(port))
      return isText(url) && isOptional(credential) && isFlag && isWay && isOptional(ca)
    }) &&
    (upstreamProxy === undefined || isProxy(upstreamProxy))
  if (!fits) throw usage('the upstreams are not what they should be')
  const checkedSettings = settings as UpstreamSettings
  return github === undefined ? checkedSettings : {...checkedSettings, github: checkedGithub(github)}
}

function usage(message: string): CageError {
  return new CageError(message, {code: 'CONTROL_REQUEST', exitCode: ExitCode.usage})
}
