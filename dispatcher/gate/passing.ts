import type {IncomingMessage} from 'node:http'
import type {GitGrant} from '../../policy/grant.js'
import {grantHeader, requestHeader, type GitService} from '../socket-api.js'
import type {Route} from './route.js'

/** How gate asks the `git` container. */

export type GitRoute = Exclude<Route, {kind: 'ready' | 'api' | 'unknown'}>

export function pathOf(repository: string): string {
  return `/repository/${encodeURIComponent(repository)}`
}

export function targetOf(route: GitRoute): string {
  const service: GitService = route.kind === 'fetch' ? 'git-upload-pack' : 'git-receive-pack'
  const path = pathOf(route.repository)
  return route.kind === 'advertise' ? `${path}/info/refs?service=${route.service}` : `${path}/${service}`
}

export function grantHeaders(grant: GitGrant, request: string): Record<string, string> {
  return {
    [grantHeader]: Buffer.from(JSON.stringify(grant)).toString('base64'),
    [requestHeader]: request,
  }
}

/** Only what is named here goes on. */
export function passedHeaders(request: IncomingMessage): Record<string, string> {
  const passed: Record<string, string> = {}
  for (const name of ['content-encoding', 'content-length', 'git-protocol'] as const) {
    const value = request.headers[name]
    if (typeof value === 'string') passed[name] = value
  }
  return passed
}
