import {CageError, ExitCode} from '../../core/errors.js'
import {listBranches} from './branches.js'
import type {FarEnd} from './far-end.js'
import {gitOutput, localGit, type LocalRepository} from './git-command.js'
import {push} from './push.js'

export interface PushedBranch {
  branch: string
  /** object id at the far end before; null = it was not there */
  from: string | null
  to: string
}

export interface PushMessages {
  onMessage?: (chunk: Buffer) => void
  signal?: AbortSignal
}

/**
 * Brings the person's branch to the hosted repository as principal `operator`: the branch and its history, nothing else.
 * Errors: BASE_NOT_FOUND (exit 2), SYNC_REFUSED when the far end has commits that the person does not have.
 */
export async function syncBase(
  local: LocalRepository,
  farEnd: FarEnd,
  branch: string,
  options: PushMessages = {},
): Promise<PushedBranch> {
  const ref = `refs/heads/${branch}`
  const found = await localGit(local, [
    'rev-parse',
    '--quiet',
    '--verify',
    '--end-of-options',
    `${ref}^{commit}`,
  ])
  if (found.code !== 0) {
    throw new CageError(`your repository has no branch ${JSON.stringify(branch)}`, {
      code: 'BASE_NOT_FOUND',
      exitCode: ExitCode.usage,
      hints: ['Make a first commit, or set `repository.base` in cage.yaml.'],
    })
  }
  const to = found.stdout.toString().trim()
  const far = await listBranches(local, farEnd, options.signal)
  const from = far.branches.find((tip) => tip.branch === branch)?.oid ?? null
  if (from === to) return {branch, from, to}
  const results = await push(local, farEnd, [`${ref}:${ref}`], {quiet: true, ...options})
  const refusal = results.find((result) => result.reason !== undefined)
  if (refusal) {
    throw new CageError(`${farEnd.name} did not take ${branch}: ${refusal.reason ?? ''}`, {
      code: 'SYNC_REFUSED',
      hints: [
        `If it has commits that you do not have: \`git fetch cage && git merge cage/${branch}\`, then again.`,
        `\`git push --force cage ${branch}\` replaces what is there.`,
      ],
    })
  }
  return {branch, from, to}
}

/** Files with changes that are in no commit, untracked ones among them: they stay on this computer. */
export async function uncommittedFiles(local: LocalRepository): Promise<number> {
  const result = await localGit(local, [
    'status',
    '--porcelain=v1',
    '-z',
    '--no-renames',
    '--ignore-submodules=all',
  ])
  // A bare repository has no files to leave behind.
  if (result.code !== 0) return 0
  return result.stdout
    .toString()
    .split('\0')
    .filter((entry) => entry !== '').length
}

/** The branch that HEAD names, when it is one. */
export async function currentBranch(local: LocalRepository): Promise<string | undefined> {
  const result = await localGit(local, ['symbolic-ref', '--quiet', '--short', 'HEAD'])
  return result.code === 0 ? result.stdout.toString().trim() : undefined
}

export interface SeedResult extends PushedBranch {
  uncommitted: number
}

/** For `cage up`: puts the base branch in place when the hosted repository does not have it yet; else changes nothing. */
export async function seedHosted(
  local: LocalRepository,
  farEnd: FarEnd,
  base: string,
  options: PushMessages = {},
): Promise<SeedResult> {
  const uncommitted = await uncommittedFiles(local)
  const far = await listBranches(local, farEnd, options.signal)
  const there = far.branches.find((tip) => tip.branch === base)
  if (there) return {branch: base, from: there.oid, to: there.oid, uncommitted}
  return {...(await syncBase(local, farEnd, base, options)), uncommitted}
}

/**
 * Adds the remote `cage`: branches arrive as `cage/<branch>`, no tags.
 * @returns 'other' when a remote of that name points elsewhere; it is left alone
 */
export async function addCageRemote(
  local: LocalRepository,
  id: string,
): Promise<'added' | 'present' | 'other'> {
  const url = `cage::${id}`
  const current = await localGit(local, ['config', '--local', '--get-all', 'remote.cage.url'])
  if (current.code === 0) return current.stdout.toString().trim() === url ? 'present' : 'other'
  for (const [key, value] of [
    ['remote.cage.fetch', '+refs/heads/*:refs/remotes/cage/*'],
    ['remote.cage.tagOpt', '--no-tags'],
    // Last, because it is what the next run looks at.
    ['remote.cage.url', url],
  ] as const)
    gitOutput(
      'add the remote cage',
      await localGit(local, ['config', '--local', '--replace-all', key, value]),
    )
  return 'added'
}

/** For `cage destroy`: removes the remote with its settings and remote-tracking branches, when it is this project's. */
export async function removeCageRemote(local: LocalRepository, id: string): Promise<boolean> {
  const current = await localGit(local, ['config', '--local', '--get-all', 'remote.cage.url'])
  if (current.code !== 0 || current.stdout.toString().trim() !== `cage::${id}`) return false
  gitOutput(
    'remove the remote cage',
    await localGit(local, ['config', '--local', '--remove-section', 'remote.cage']),
  )
  return true
}
