import {gitHost} from '../../core/layout.js'
import type {GitGrant} from '../../policy/grant.js'
import {repositoryName, type GitService} from '../socket-api.js'

export type Route =
  | {kind: 'ready'}
  | {kind: 'advertise'; repository: string; service: GitService}
  | {kind: 'fetch' | 'push' | 'lfs'; repository: string}
  | {kind: 'unknown'}

/** Matches the target as it came, undecoded: a path that needs decoding is not one of ours. */
export function routeOf(method: string, target: string, host: string | undefined): Route {
  if (!isGitHost(host)) return {kind: 'unknown'}
  if (method === 'GET' && target === '/ready') return {kind: 'ready'}
  const match = /^\/([A-Za-z0-9._-]+)\/([a-z/-]+)(\?[A-Za-z0-9=&_-]*)?$/.exec(target)
  const repository = match?.[1] === undefined ? undefined : repositoryName(match[1])
  if (repository === undefined) return {kind: 'unknown'}
  const action = `${method} ${match?.[2] ?? ''}`
  const query = match?.[3] ?? ''
  if (action === 'GET info/refs') {
    const service = /^\?service=(git-upload-pack|git-receive-pack)$/.exec(query)?.[1] as
      GitService | undefined
    return service ? {kind: 'advertise', repository, service} : {kind: 'unknown'}
  }
  if (query !== '') return {kind: 'unknown'}
  if (action === 'POST git-upload-pack') return {kind: 'fetch', repository}
  if (action === 'POST git-receive-pack') return {kind: 'push', repository}
  if (/^(GET|POST) info\/lfs(\/|$)/.test(action)) return {kind: 'lfs', repository}
  return {kind: 'unknown'}
}

/** What a document says about a repository; one it does not name looks like one that does not exist. */
export function accessTo(grant: GitGrant, repository: string): 'write' | 'read' | 'none' {
  if (repositoryName(grant.repository) === repository) return 'write'
  return grant.read.some((url) => hostedRepository(url) === repository) ? 'read' : 'none'
}

function hostedRepository(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const {host, pathname} = new URL(url)
  return isGitHost(host) ? repositoryName(pathname) : undefined
}

function isGitHost(host: string | undefined): boolean {
  return host?.replace(/:\d+$/, '').toLowerCase() === gitHost
}
