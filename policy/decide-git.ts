import type {GitGrant} from './grant.js'
import {isPathListName, pathLists} from './path-lists.js'
import {foldPath, pathRule} from './path-rule.js'
import {isObjectId, isZeroId, refNameProblem} from './ref-name.js'

/** One command of a push. `fastForward` is given once it is known; without it only name and kind are judged. */
export interface RefUpdate {
  /** 40 or 64 lower-case hex digits; zeros = the ref does not exist */
  old: string
  new: string
  ref: string
  fastForward?: boolean
}

export interface GitDecision {
  effect: 'allow' | 'deny'
  ruleId: string
  /** one line of plain ASCII below 100 bytes without the agent's text: tools parse it */
  reason: string
}

/** One changed path of one new commit, as `git diff-tree --raw` shows it. */
export interface PathChange {
  path: string
  /** mode after the change: 100644, 100755, 120000 symlink, 160000 gitlink, 000000 deleted */
  mode: string
  /** of a symlink */
  target?: string
}

export interface PathDecision {
  /** `flag` passes and is shown to the reviewer */
  effect: 'allow' | 'deny' | 'flag'
  ruleId: string
  reason: string
}

const allow = (ruleId: string): GitDecision => ({effect: 'allow', ruleId, reason: 'allowed'})
const deny = (ruleId: string, reason: string): GitDecision => ({effect: 'deny', ruleId, reason})

/** Pure decision over one ref update; call it before the pack is read and again with `fastForward`. */
export function decideRefUpdate(grant: GitGrant, update: RefUpdate): GitDecision {
  const {old, new: next, ref} = update
  if (!isObjectId(old) || !isObjectId(next) || old.length !== next.length)
    return deny('git.syntax', 'malformed object id')
  if (isZeroId(old) && isZeroId(next)) return deny('git.syntax', 'neither old nor new object')
  if (refNameProblem(ref)) return deny('git.syntax', 'malformed ref name')
  if (ref.startsWith('refs/heads/')) return decideBranch(grant, update)
  if (ref.startsWith('refs/tags/')) return decideTag(grant, update)
  return deny('git.push.refs', 'only branches and tags can be pushed')
}

function decideBranch(grant: GitGrant, {old, new: next, ref, fastForward}: RefUpdate): GitDecision {
  const {push, principal} = grant
  if (principal === 'task' && !push.refs.includes(ref))
    return deny('git.push.refs', 'not the branch of this task')
  if (isZeroId(next)) {
    const isBase = ref === `refs/heads/${grant.base}`
    if (isBase) return deny('git.push.delete', 'the base branch cannot be deleted')
    return push.delete
      ? allow('git.push.delete')
      : deny('git.push.delete', 'deleting a branch is not granted')
  }
  if (!isZeroId(old) && fastForward === false)
    return push.force
      ? allow('git.push.force')
      : deny('git.push.force', 'not a fast-forward: fetch and merge or rebase first')
  return allow('git.push.refs')
}

function decideTag(grant: GitGrant, {old, new: next, ref}: RefUpdate): GitDecision {
  const {push} = grant
  const granted = push.tags.some((tag) =>
    tag.endsWith('/*') ? ref.startsWith(tag.slice(0, -1)) && ref.length >= tag.length : tag === ref,
  )
  if (!granted) return deny('git.push.tags', 'tags are not granted to this task')
  if (isZeroId(next))
    return push.delete ? allow('git.push.delete') : deny('git.push.delete', 'deleting a tag is not granted')
  if (!isZeroId(old) && !push.force) return deny('git.push.force', 'moving a tag is not granted')
  return allow('git.push.tags')
}

/** Rules over the paths of new commits: a set, all that match count, deny beats flag. */
export function compilePathRules(grant: GitGrant): (change: PathChange) => PathDecision {
  const denied = grant.push.deny.flatMap((entry) =>
    isPathListName(entry)
      ? pathLists[entry].map((pattern) => pathRule(pattern, `git.push.deny[${entry}]`))
      : [pathRule(entry, `git.push.deny[${entry}]`)],
  )
  const review = pathLists.review.map((pattern) => pathRule(pattern, 'review'))
  const judgesLinks = grant.principal === 'task'
  return (change) => {
    const path = foldPath(change.path)
    const link = change.mode === '120000' || change.mode === '160000'
    const hit = denied.find((rule) => rule.at(path) || (link && rule.above(path)))
    if (hit)
      return {
        effect: 'deny',
        ruleId: hit.id,
        reason: 'this path may not be changed by a task: a person has to',
      }
    if (judgesLinks && change.mode === '160000')
      return {effect: 'deny', ruleId: 'git.gitlink', reason: 'submodule entries may not be pushed by a task'}
    if (judgesLinks && change.mode === '120000' && leadsOutside(change.path, change.target))
      return {effect: 'deny', ruleId: 'git.symlink', reason: 'symbolic link that leads out of the repository'}
    if (review.some((rule) => rule.at(path)))
      return {effect: 'flag', ruleId: 'review', reason: 'tools run or obey this file by themselves'}
    return {effect: 'allow', ruleId: 'git.paths', reason: 'allowed'}
  }
}

/** For one path; compile once where many are judged. */
export function decidePath(grant: GitGrant, change: PathChange): PathDecision {
  return compilePathRules(grant)(change)
}

function leadsOutside(path: string, target: string | undefined): boolean {
  if (target === undefined) return true
  if (target.startsWith('/') || target.includes('\\') || target.includes('\0') || /^[a-z]:/i.test(target))
    return true
  let depth = path.split('/').length - 1
  for (const segment of target.split('/')) {
    if (segment === '..') depth--
    else if (segment !== '' && segment !== '.') depth++
    if (depth < 0) return true
    // A link into the repository's own machinery is as bad as one outside.
    if (foldPath(segment) === '.git') return true
  }
  return false
}
