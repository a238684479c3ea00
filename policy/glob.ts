/**
 * Path globs over `/`-separated segments: `*` = any run inside one segment, `?` = one character, `**` as a whole
 * segment = any number of segments; at the end at least one. Linear in text times pattern, no regular expression.
 */
export interface GlobOptions {
  caseInsensitive?: boolean
}

/** Why a pattern is not a glob, or undefined. */
export function globProblem(pattern: string): string | undefined {
  if (pattern === '') return 'must not be empty'
  if (pattern.length > 1024) return 'must not be longer than 1024 characters'
  if (/[\u0000-\u001f\u007f]/.test(pattern)) return 'must not contain control characters'
  for (const segment of pattern.split('/'))
    if (segment.includes('**') && segment !== '**') return '`**` must stand alone between slashes'
  return undefined
}

/** A function that tells whether the whole text matches. */
export function compileGlob(pattern: string, options: GlobOptions = {}): (text: string) => boolean {
  const fold = (text: string) => (options.caseInsensitive ? text.toLowerCase() : text)
  const wanted = fold(pattern)
    .split('/')
    // Two in a row mean the same as one.
    .filter((segment, index, all) => segment !== '**' || all[index - 1] !== '**')
  return (text) => segmentsMatch(wanted, fold(text).split('/'))
}

/** Whether some path below the folder could match: the folder's segments match a proper prefix of the pattern. */
export function compileAncestorGlob(pattern: string, options: GlobOptions = {}): (folder: string) => boolean {
  const fold = (text: string) => (options.caseInsensitive ? text.toLowerCase() : text)
  const wanted = fold(pattern).split('/')
  const open = wanted.indexOf('**')
  const fixed = open < 0 ? wanted : wanted.slice(0, open)
  return (folder) => {
    const segments = fold(folder).split('/')
    if (segments.length > fixed.length || (open < 0 && segments.length === fixed.length)) return false
    return segments.every((segment, index) => segmentMatches(fixed[index] ?? '', segment))
  }
}

/** The wildcard algorithm with one saved star, over segments. */
function segmentsMatch(pattern: readonly string[], text: readonly string[]): boolean {
  const last = pattern.length - 1
  const atLeastOneMore = pattern[last] === '**' && pattern.length > 1
  let p = 0
  let t = 0
  let star = -1
  let resume = 0
  while (t < text.length) {
    const wanted = pattern[p]
    if (wanted === '**') {
      star = p++
      resume = t
    } else if (wanted !== undefined && segmentMatches(wanted, text[t] ?? '')) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++resume
    } else return false
  }
  if (atLeastOneMore && p === last) return false
  while (pattern[p] === '**') p++
  return p === pattern.length
}

function segmentMatches(pattern: string, text: string): boolean {
  let p = 0
  let t = 0
  let star = -1
  let resume = 0
  while (t < text.length) {
    const wanted = pattern[p]
    if (wanted === '*') {
      star = p++
      resume = t
    } else if (wanted !== undefined && (wanted === '?' || wanted === text[t])) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++resume
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
