import {refNameProblem, isObjectId} from '../../policy/ref-name.js'
import type {FarEnd} from './far-end.js'
import {gitFailure, localGit, type LocalRepository} from './git-command.js'
import {withRelay} from './relay.js'

export interface BranchTip {
  /** short name */
  branch: string
  oid: string
}

export interface FarBranches {
  branches: BranchTip[]
  /** short name of the branch HEAD points at */
  head?: string
}

/** Branches of the far end. Names that git or a terminal should not see are left out, tags and all else too. */
export async function listBranches(
  local: LocalRepository,
  farEnd: FarEnd,
  signal?: AbortSignal,
): Promise<FarBranches> {
  return withRelay(
    farEnd,
    'upload-pack',
    async (relay) => {
      const result = await localGit(
        local,
        ['ls-remote', '--symref', `--upload-pack=${relay.command}`, '/cage', 'HEAD', 'refs/heads/*'],
        signal ? {signal} : {},
      )
      if (result.code !== 0)
        throw relay.failure() ?? gitFailure(`list the branches of ${farEnd.name}`, result)
      return parseBranches(result.stdout.toString())
    },
    signal,
  )
}

export function parseBranches(text: string): FarBranches {
  const branches: BranchTip[] = []
  let head: string | undefined
  for (const line of text.split('\n')) {
    const [left = '', ref = ''] = line.split('\t')
    if (ref === 'HEAD' && left.startsWith('ref: ')) head = branchOf(left.slice('ref: '.length))
    const branch = branchOf(ref)
    if (branch !== undefined && isObjectId(left)) branches.push({branch, oid: left})
  }
  return head !== undefined && branches.some(({branch}) => branch === head) ? {branches, head} : {branches}
}

/** `x` for an acceptable `refs/heads/x`. */
function branchOf(ref: string): string | undefined {
  if (!ref.startsWith('refs/heads/') || refNameProblem(ref) !== undefined) return undefined
  const branch = ref.slice('refs/heads/'.length)
  return branch.startsWith('-') || branch === 'HEAD' ? undefined : branch
}
