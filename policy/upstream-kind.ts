/** What kind of upstream `repository.upstream` names: the dispatcher itself, GitHub, or any other git server. */
export function upstreamKind(upstream: string): 'hosted' | 'git' | 'github' {
  if (upstream === 'hosted') return 'hosted'
  return new URL(upstream).hostname.toLowerCase() === 'github.com' ? 'github' : 'git'
}
