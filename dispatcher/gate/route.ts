import {gitHost} from '../../core/layout.js'
import type {GitGrant} from '../../policy/grant.js'
import {repositoryUnder, upstreamName} from '../../policy/repository-name.js'
import {apiHost} from '../github/app-tokens.js'
import {repositoryName, type GitService} from '../socket-api.js'

export type Route =
  | {kind: 'ready'}
  | {kind: 'api'}
  | {kind: 'advertise'; repository: string; service: GitService}
  | {kind: 'fetch' | 'push'; repository: string}
  /** `action`: what stands behind `/info/lfs/` */
  | {kind: 'lfs'; repository: string; action: string}
  | {kind: 'unknown'}

const target =
  /^((?:\/[A-Za-z0-9_~+.-]+)+?)\/(info\/refs|git-upload-pack|git-receive-pack|info\/lfs(?:\/[a-z0-9/-]*)?)(\?[A-Za-z0-9=&_-]*)?$/

/** Matches the target as it came, undecoded: a path that needs decoding is not one of ours. */
export function routeOf(method: string, path: string, host: string | undefined): Route {
  if (plainHost(host) === apiHost) return {kind: 'api'}
  if (isGitHost(host) && method === 'GET' && path === '/ready') return {kind: 'ready'}
  const [, place = '', service = '', query = ''] = target.exec(path) ?? []
  const repository = repositoryAt(host, place)
  if (repository === undefined) return {kind: 'unknown'}
  const action = `${method} ${service}`
  if (action === 'GET info/refs') {
    const asked = /^\?service=(git-upload-pack|git-receive-pack)$/.exec(query)?.[1] as GitService | undefined
    return asked ? {kind: 'advertise', repository, service: asked} : {kind: 'unknown'}
  }
  if (query !== '') return {kind: 'unknown'}
  if (action === 'POST git-upload-pack') return {kind: 'fetch', repository}
  if (action === 'POST git-receive-pack') return {kind: 'push', repository}
  const lfs = /^(?:GET|POST) info\/lfs\/?(.*)$/.exec(action)
  if (lfs) return {kind: 'lfs', repository, action: lfs[1] ?? ''}
  return {kind: 'unknown'}
}

export interface Access {
  rights: 'write' | 'read' | 'none'
  /** the name as the document writes it, which is how the upstream is asked */
  repository: string
}

/** What a document says about a repository; one it does not name looks like one that does not exist. */
export function accessTo(grant: GitGrant, repository: string): Access {
  const same = (name: string | undefined) => name?.toLowerCase() === repository.toLowerCase()
  const own = ownRepository(grant)
  if (own !== undefined && same(own)) return {rights: 'write', repository: own}
  const {url, fork} = grant.upstream
  const read = [...(fork === undefined ? [] : [url]), ...grant.read].map(nameOf).find(same)
  return read === undefined ? {rights: 'none', repository} : {rights: 'read', repository: read}
}

/** How the dispatcher names the repository that a task pushes to. */
export function ownRepository({upstream, repository}: GitGrant): string | undefined {
  return upstream.kind === 'hosted' ? repositoryName(repository) : upstreamName(upstream.fork ?? upstream.url)
}

function nameOf(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const {host, pathname} = new URL(url)
  return isGitHost(host) ? repositoryName(pathname) : upstreamName(url)
}

function repositoryAt(host: string | undefined, path: string): string | undefined {
  if (host === undefined || path === '') return undefined
  return isGitHost(host)
    ? repositoryName(path)
    : repositoryUnder(host.toLowerCase().replace(/:443$/, ''), path)
}

function isGitHost(host: string | undefined): boolean {
  return plainHost(host) === gitHost
}

function plainHost(host: string | undefined): string | undefined {
  return host?.replace(/:\d+$/, '').toLowerCase()
}
