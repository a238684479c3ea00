import type {GitGrant} from './grant.js'

export interface GithubRepository {
  owner: string
  name: string
}

/** Owner and name of a repository at github.com; undefined for every other upstream. */
export function githubRepository({kind, url}: GitGrant['upstream']): GithubRepository | undefined {
  if (kind !== 'github' || !URL.canParse(url)) return undefined
  const [, owner, name] =
    /^https:\/\/github\.com\/([A-Za-z0-9][A-Za-z0-9-]{0,38})\/([A-Za-z0-9._-]{1,100}?)(?:\.git)?\/?$/i.exec(
      url,
    ) ?? []
  return owner === undefined || name === undefined || /^\.+$/.test(name) ? undefined : {owner, name}
}

/** Where branches go: the fork, or the upstream itself. */
export function pushedRepository(upstream: GitGrant['upstream']): GithubRepository | undefined {
  return githubRepository({kind: upstream.kind, url: upstream.fork ?? upstream.url})
}

export function isSameRepository(one: GithubRepository, other: GithubRepository): boolean {
  return `${one.owner}/${one.name}`.toLowerCase() === `${other.owner}/${other.name}`.toLowerCase()
}
