import {unlink} from 'node:fs/promises'
import {CageError, ExitCode} from '../../core/errors.js'
import {listBranches} from './branches.js'
import {changedFiles, type ChangedFile} from './changed-files.js'
import type {FarEnd} from './far-end.js'
import {gitOutput, localGit, type LocalRepository} from './git-command.js'
import {withQuarantine, type Quarantine, type ReceiveOptions} from './quarantine.js'

export interface Commit {
  id: string
  subject: string
  author: string
  /** ISO 8601 with offset */
  date: string
}

/** What a branch has beyond the base it started from. Texts are the agent's: escape them before a terminal sees them. */
export interface BranchChange {
  branch: string
  commits: Commit[]
  files: ChangedFile[]
}

export interface Comparison {
  local: LocalRepository
  farEnd: FarEnd
  branch: string
  base: string
  /** object id of the base, where the far end has no branch of this name */
  baseTip?: string
  receive?: ReceiveOptions
}

/** Commits, files and, as bytes, the patch of a pushed branch. Nothing of the person's repository is changed. */
export function compareBranch(comparison: Comparison): Promise<BranchChange & {patch: Buffer}> {
  return inspect(comparison, async (quarantine, tips, change) => {
    const patch = await quarantine.git([...DIFF, '--patch', ...tips.range])
    gitOutput('compare the branch', patch)
    return {...change, patch: patch.stdout}
  })
}

/** Brings a pushed branch home as the remote-tracking branch `cage/<branch>`, which is also moved when it was rewritten. */
export async function fetchBranch(comparison: Comparison): Promise<BranchChange> {
  const {local, branch} = comparison
  return inspect(comparison, async (quarantine, tips, change) => {
    const {keeps} = await quarantine.handOver()
    try {
      const ref = `refs/remotes/cage/${branch}`
      const update = ['update-ref', '-m', 'cage: fetch', ref, tips.branch] as const
      gitOutput(`set ${ref}`, await localGit(local, update))
    } finally {
      await Promise.all(keeps.map((keep) => unlink(keep).catch(() => undefined)))
    }
    return change
  })
}

/** No program, no attribute and no setting of anybody takes part in a diff. */
const DIFF = [
  'diff',
  '--no-ext-diff',
  '--no-textconv',
  '--no-color',
  '--no-renames',
  '--ignore-submodules=none',
  '--submodule=short',
] as const

interface Tips {
  branch: string
  range: [string, string]
}

async function inspect<T>(
  {local, farEnd, branch, base, baseTip: given, receive = {}}: Comparison,
  work: (quarantine: Quarantine, tips: Tips, change: BranchChange) => Promise<T>,
): Promise<T> {
  const {branches} = await listBranches(local, farEnd, receive.signal)
  const tipOf = (name: string) => branches.find((tip) => tip.branch === name)?.oid
  const tip = tipOf(branch)
  if (tip === undefined) {
    throw new CageError(`nothing has been pushed to ${JSON.stringify(branch)} yet`, {
      code: 'BRANCH_NOT_PUSHED',
      exitCode: ExitCode.notFound,
      hints: ['The agent’s commits come here when it pushes them.'],
    })
  }
  const baseTip = given ?? tipOf(base)
  return withQuarantine(
    local,
    farEnd,
    [tip, ...(baseTip === undefined ? [] : [baseTip])],
    receive,
    async (quarantine) => {
      const fork = baseTip === undefined ? '' : await forkPoint(quarantine, baseTip, tip)
      const range: [string, string] = [fork === '' ? await emptyTree(quarantine) : fork, tip]
      const change = {
        branch,
        commits: await commits(quarantine, fork, tip),
        files: await changedFiles(quarantine, DIFF, range),
      }
      return work(quarantine, {branch: tip, range}, change)
    },
  )
}

/** '' when the two have no common history */
async function forkPoint(quarantine: Quarantine, base: string, tip: string): Promise<string> {
  const result = await quarantine.git(['merge-base', base, tip])
  return result.code === 1 ? '' : gitOutput('compare the branch with its base', result).trim()
}

async function emptyTree(quarantine: Quarantine): Promise<string> {
  return gitOutput(
    'compare the branch',
    await quarantine.git(['hash-object', '-t', 'tree', '-w', '--stdin']),
  ).trim()
}

async function commits(quarantine: Quarantine, fork: string, tip: string): Promise<Commit[]> {
  const result = await quarantine.git([
    'log',
    '-z',
    '--no-show-signature',
    '--no-color',
    '--format=%H%n%aI%n%an%n%s',
    tip,
    ...(fork === '' ? [] : [`^${fork}`]),
  ])
  return gitOutput('list the commits', result)
    .split('\0')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [id = '', date = '', author = '', ...subject] = entry.split('\n')
      return {id, subject: subject.join('\n'), author, date}
    })
}
