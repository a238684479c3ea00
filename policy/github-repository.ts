import type {GitGrant} from './grant.js'

/** Owner and name of a repository at github.com; undefined for every other upstream. */
export function githubRepository({
  kind,
  url,
}: GitGrant['upstream']): {owner: string; name: string} | undefined {
  if (kind !== 'github' || !URL.canParse(url)) return undefined
  const [, owner, name] =
    /^https:\/\/github\.com\/([A-Za-z0-9][A-Za-z0-9-]{0,38})\/([A-Za-z0-9._-]{1,100}?)(?:\.git)?\/?$/i.exec(
      url,
    ) ?? []
  return owner === undefined || name === undefined || /^\.+$/.test(name) ? undefined : {owner, name}
}
