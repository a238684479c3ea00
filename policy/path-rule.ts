import {compileAncestorGlob, compileGlob} from './glob.js'

/** One entry of a list of paths, judged on folded paths. */
export interface PathRule {
  id: string
  /** the path itself or anything below it */
  at(path: string): boolean
  /** a folder above what the pattern names; a link there would move the whole folder */
  above(path: string): boolean
}

export function pathRule(pattern: string, id: string): PathRule {
  const folded = foldPath(pattern)
  const itself = compileGlob(folded)
  const below = compileGlob(folded.endsWith('/**') ? folded : `${folded}/**`)
  const above = compileAncestorGlob(folded)
  return {id, at: (path) => itself(path) || below(path), above}
}

/** The form in which file systems that fold case, drop characters or know other separators would store the path. */
export function foldPath(path: string): string {
  return path
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase()
    .replace(/\\/g, '/')
    .split('/')
    .map((segment) => (segment === '**' ? segment : segment.replace(/:.*$/, '').replace(/[. ]+$/, '')))
    .join('/')
}
