/**
 * The one spelling of a repository behind an https:// address: `host[:port]/path.git`, the host in lower case.
 * Undefined for an address that cannot name one: other schemes, users, queries, paths that need decoding.
 */
export function upstreamName(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const {protocol, host, username, password, search, hash} = new URL(url)
  if (protocol !== 'https:' || username || password || search || hash || host === '') return undefined
  // The path as written: what the parser of URLs would rewrite (`..`, `%2e`) is none of ours.
  const path = /^https:\/\/[^/]+(\/.*)$/i.exec(url)?.[1] ?? ''
  return repositoryUnder(host.toLowerCase().replace(/\.(?=$|:)/, ''), path)
}

/** The same from the two halves of a request: Host header and path. */
export function repositoryUnder(host: string, path: string): string | undefined {
  const segments = path.replace(/^\//, '').replace(/\/$/, '').split('/')
  const plain = segments.every(
    (segment) => /^[A-Za-z0-9_~+.-]{1,200}$/.test(segment) && !/^\.+$/.test(segment),
  )
  if (!plain || !/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/.test(host)) return undefined
  const name = `${host}/${segments.join('/')}`.replace(/(?:\.git)?$/, '.git')
  return name.endsWith('/.git') || name.length > 400 ? undefined : name
}

/** How the dispatcher names the repository of `repository.upstream`: `shop.git` when it is its own, else its address. */
export function dispatcherRepository(upstream: string, project: string): string | undefined {
  return upstream === 'hosted' ? `${project}.git` : upstreamName(upstream)
}
