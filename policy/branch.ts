import {createHash} from 'node:crypto'
import {CageError, ExitCode} from '../core/errors.js'
import {foldName, refNameProblem} from './ref-name.js'

const MAX_NAME = 40
const MAX_BRANCH = 200

export interface BranchContext {
  /** the branch the task starts from */
  base: string
  /** the upstream's default branch and whatever else only people move */
  protectedBranches: readonly string[]
  /** branches of other tasks */
  taskBranches: readonly string[]
  /** branches that exist upstream */
  existing: readonly string[]
  /** `--existing`: continue a branch that is already upstream */
  mayExist: boolean
}

/** Refuses a name before anything exists; throws CageError, exit 2. */
export function checkNewBranch(branch: string, context: BranchContext): void {
  checkBranchName(branch)
  if (foldName(branch) === foldName(context.base))
    throw refused(branch, 'is the base branch', 'A task needs a branch of its own.')
  if (context.protectedBranches.some((name) => foldName(name) === foldName(branch)))
    throw refused(branch, 'is protected: only people move it', 'A task needs a branch of its own.')
  if (context.taskBranches.includes(branch))
    throw refused(branch, 'belongs to another task', 'Run `cage task list`.')
  if (context.existing.includes(branch) && !context.mayExist)
    throw refused(branch, 'exists upstream already', 'Add --existing to continue it, or take another name.')
  for (const other of new Set([...context.existing, ...context.taskBranches, context.base])) {
    const clash = other === branch ? undefined : clashOf(branch, other)
    if (clash) throw refused(branch, clash, 'Take another name.')
  }
}

/** The name alone: what git takes as a branch. */
export function checkBranchName(branch: string): void {
  const problem = branchProblem(branch)
  if (problem) throw refused(branch, problem, 'Take a name such as fix/login.')
}

export function branchProblem(branch: string): string | undefined {
  if (branch === '') return 'is empty'
  if (branch.startsWith('-')) return 'starts with a dash'
  if (branch === 'HEAD' || branch === '@') return 'has a meaning of its own in git'
  if (branch.startsWith('refs/')) return 'starts with refs/: give the short name'
  if (/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i.test(branch)) return 'looks like an object id'
  if (Buffer.byteLength(branch) > MAX_BRANCH) return `is longer than ${MAX_BRANCH} bytes`
  return refNameProblem(`refs/heads/${branch}`)
}

/** Why two branches cannot lie beside each other: in git (`a` and `a/b`) or on a case-folding disk (`A` and `a`). */
export function clashOf(branch: string, other: string): string | undefined {
  const mine = branch.split('/')
  const theirs = other.split('/')
  for (let index = 0; index < Math.min(mine.length, theirs.length); index++) {
    const a = mine[index] ?? ''
    const b = theirs[index] ?? ''
    if (foldName(a) !== foldName(b)) return undefined
    if (a !== b) return `differs from ${other} only in upper and lower case, which many disks cannot hold`
  }
  if (mine.length === theirs.length) return undefined
  return `cannot exist beside ${other}: git keeps one as a folder of the other`
}

/** The task's name: the branch itself when it is a DNS label of at most 40 characters, else a slug and 6 hex of its SHA-256. */
export function taskName(branch: string): string {
  if (branch.length <= MAX_NAME && /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(branch)) return branch
  const hash = createHash('sha256').update(branch).digest('hex').slice(0, 6)
  const slug = branch
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_NAME - 7)
    .replace(/^-+|-+$/g, '')
  return `${slug || 'task'}-${hash}`
}

function refused(branch: string, problem: string, hint: string): CageError {
  return new CageError(`branch ${JSON.stringify(branch)} ${problem}`, {
    code: 'BRANCH_REFUSED',
    exitCode: ExitCode.usage,
    hints: [hint],
  })
}
