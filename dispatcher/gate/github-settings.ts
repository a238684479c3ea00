import {isIPv4} from 'node:net'
import type {Clock} from '../../core/clock.js'
import {CageError, ExitCode} from '../../core/errors.js'
import type {ApiClient} from '../github/api-client.js'
import {AppIdentityAtGithub, TokenIdentityAtGithub, type GithubIdentity} from '../github/identity.js'
import type {HostWay} from './connections.js'

/** Who the dispatcher is at GitHub and how its hosts are reached, as the CLI says it over the control socket. */
export interface GithubSettings {
  who:
    | {app: number; installation: number; /** PEM */ key: string}
    | {token: string; /** a classic one opens every repository of its owner */ allowClassic: boolean}
  /** the operator's exact ways (`network.hosts`); every other host is reached by name */
  hosts: HostWay[]
  /** address of the upstream whose fork tasks push to; absent = they push to the upstream */
  forkOf?: string
}

/** Errors: GITHUB_APP_KEY, CLASSIC_TOKEN */
export function identityOf({who}: GithubSettings, api: ApiClient, clock: Clock): GithubIdentity {
  return 'token' in who
    ? new TokenIdentityAtGithub(who.token, who.allowClassic, api)
    : new AppIdentityAtGithub(who, api, clock)
}

/** Errors: CONTROL_REQUEST */
export function checkedGithub(value: unknown): GithubSettings {
  const {who, hosts, forkOf} = (value ?? {}) as {
    who?: Record<string, unknown>
    hosts?: unknown
    forkOf?: unknown
  }
  const isId = (id: unknown) => Number.isSafeInteger(id) && Number(id) > 0
  const isText = (text: unknown) => typeof text === 'string' && text !== ''
  const isApp = isId(who?.['app']) && isId(who?.['installation']) && isText(who?.['key'])
  const isToken = isText(who?.['token']) && typeof who?.['allowClassic'] === 'boolean'
  const areHosts =
    Array.isArray(hosts) &&
    hosts.every((way: Partial<Record<keyof HostWay, unknown>> | null) => {
      const {host, port, address, ca} = way ?? {}
      const isAddress = typeof address === 'string' && isIPv4(address)
      return isText(host) && isId(port) && isAddress && (ca === undefined || isText(ca))
    })
  if ((isApp || isToken) && areHosts && (forkOf === undefined || isText(forkOf)))
    return value as GithubSettings
  throw new CageError('the settings for GitHub are not what they should be', {
    code: 'CONTROL_REQUEST',
    exitCode: ExitCode.usage,
  })
}
