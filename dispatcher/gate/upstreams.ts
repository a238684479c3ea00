import {isIPv4} from 'node:net'
import {CageError, ExitCode} from '../../core/errors.js'
import {upstreamName} from '../../policy/repository-name.js'
import type {GithubIdentity} from '../github/identity.js'
import type {HostWay} from './connections.js'
import {TokenCredential, type Credential} from './credential.js'
import {GithubCredential} from './github-credential.js'
import {checkedGithub, type GithubSettings} from './github-settings.js'

/** One repository at an upstream and the way to it, as the CLI says it over the control socket. */
export interface UpstreamSetting {
  /** https:// address as in `repository.upstream` or `repository.read` */
  url: string
  /** token or `user:password` */
  credential?: string
  /** the operator's exact way to this host (`network.hosts`); absent = by name, public addresses only */
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

/** The upstreams of this project with their credentials: in memory only, so a new process waits until it is told again. */
export class Upstreams {
  readonly #identify: (settings: GithubSettings) => GithubIdentity
  #byName: ReadonlyMap<string, Upstream> | undefined
  #github: {settings: GithubSettings; identity: GithubIdentity} | undefined
  #resolver: readonly string[] = []
  #allowAddresses: readonly string[] = []

  constructor(identify: (settings: GithubSettings) => GithubIdentity) {
    this.#identify = identify
  }

  /** Replaces everything. @returns the names. Errors: CONTROL_REQUEST, GITHUB_APP_KEY, CLASSIC_TOKEN */
  set(settings: unknown): string[] {
    const {upstreams, resolver, allowAddresses, github} = checked(settings)
    const known = this.#github
    const identity =
      github &&
      // The same again keeps its tokens.
      (JSON.stringify(known?.settings.who) === JSON.stringify(github.who)
        ? known?.identity
        : this.#identify(github))
    const entries = upstreams.map((setting) => upstreamOf(setting, identity))
    this.#github = github && identity && {settings: github, identity}
    this.#byName = new Map(entries.map((upstream) => [upstream.name.toLowerCase(), upstream]))
    this.#resolver = resolver
    this.#allowAddresses = allowAddresses
    return entries.map(({name}) => name)
  }

  get resolver(): readonly string[] {
    return this.#resolver
  }

  get allowAddresses(): readonly string[] {
    return this.#allowAddresses
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

  /** Errors: UPSTREAM_UNKNOWN */
  get(name: string): Upstream {
    const found = this.#byName?.get(name.toLowerCase())
    if (found) return found
    throw unknown()
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
  {url, credential, address, port, ca}: UpstreamSetting,
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
    ...credentialOf(parsed, credential, identity),
  }
}

function credentialOf(
  {hostname, pathname}: URL,
  credential: string | undefined,
  identity: GithubIdentity | undefined,
): {credential?: Credential} {
  if (identity && hostname === 'github.com') {
    const repository =
      pathname
        .split('/')
        .at(-1)
        ?.replace(/\.git$/, '') ?? ''
    return {credential: new GithubCredential(identity, repository)}
  }
  return credential === undefined ? {} : {credential: new TokenCredential(credential)}
}

function unknown(): CageError {
  return new CageError(
    'the dispatcher does not know the way to the upstream: it was started again, and a person has to run `cage up`',
    {code: 'UPSTREAM_UNKNOWN'},
  )
}

function checked(settings: unknown): UpstreamSettings {
  const {upstreams, resolver, allowAddresses, github} = settings as Partial<
    Record<keyof UpstreamSettings, unknown>
  >
  const isText = (value: unknown) => typeof value === 'string' && value !== ''
  const isOptional = (value: unknown) => value === undefined || isText(value)
  const texts = (value: unknown) => Array.isArray(value) && value.every(isText)
  const fits =
    texts(resolver) &&
    texts(allowAddresses) &&
    Array.isArray(upstreams) &&
    upstreams.every((one: Partial<Record<keyof UpstreamSetting, unknown>> | null) => {
      if (typeof one !== 'object' || one === null) return false
      const {url, credential, address, port, ca} = one
      const isPort =
        port === undefined || (Number.isInteger(port) && Number(port) > 0 && Number(port) < 65536)
      const isAddress = address === undefined || (typeof address === 'string' && isIPv4(address))
      return isText(url) && isOptional(credential) && isAddress && isPort && isOptional(ca)
    })
  if (!fits) throw usage('the upstreams are not what they should be')
  const checkedSettings = settings as UpstreamSettings
  return github === undefined ? checkedSettings : {...checkedSettings, github: checkedGithub(github)}
}

function usage(message: string): CageError {
  return new CageError(message, {code: 'CONTROL_REQUEST', exitCode: ExitCode.usage})
}
