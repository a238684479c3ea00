import {ApiDenied} from './denied.js'

/** A search stays within the task's repository: it says so itself, and says nothing that leads elsewhere. */
export function requireSearchHere(query: unknown, {owner, name}: {owner: string; name: string}): void {
  const here = `repo:${owner}/${name}`
  const denied = (why: string) => new ApiDenied('github.search', `${why}: a task searches with ${here}`)
  if (typeof query !== 'string' || query.length > 1024) throw denied('the search is missing or too long')
  const text = query.toLowerCase().replaceAll(`repo:"${owner}/${name}"`.toLowerCase(), here.toLowerCase())
  const words = text.split(/\s+/)
  if (/\b(?:OR|NOT)\b/.test(query)) throw denied('OR and NOT are not available in searches')
  const scopes = words.filter((word) =>
    /(?:^|[^a-z])(?:repo|org|user|owner|enterprise|in-org)["']?:/.test(word),
  )
  // Between quotes it would be a text to look for, everywhere.
  const outside = text.replace(/"[^"]*"/g, ' " ').split(/\s+/)
  if (
    text.split('"').length % 2 === 0 ||
    text.includes('\\"') ||
    !outside.includes(here.toLowerCase()) ||
    scopes.some((word) => word !== here.toLowerCase())
  )
    throw denied('this search would leave the repository')
}
