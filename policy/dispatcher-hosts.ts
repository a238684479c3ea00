import {gitHost} from '../core/layout.js'

/** What git and gh talk to when the upstream is GitHub; always routed, so that no rule can open them by accident. */
const githubHosts = ['github.com', 'api.github.com', 'uploads.github.com'] as const

/** Names that the sidecar never dials: it sends them to the dispatcher. */
export function dispatcherHosts(repository: {upstream: string; read: readonly string[]}): string[] {
  const own = [repository.upstream, ...repository.read].filter((url) => url !== 'hosted').map(hostOf)
  return [...new Set([gitHost, ...githubHosts, ...own.filter((host) => host !== '')])].sort()
}

/** Host of an https:// address, lower case; empty when it is none. */
export function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname.toLowerCase().replace(/\.$/, '') : ''
}
