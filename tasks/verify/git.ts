import {Readable} from 'node:stream'
import {CageError} from '../../core/errors.js'
import type {GitGrant} from '../../policy/grant.js'
import {BoundedText} from '../agent-state.js'
import type {TaskProject} from '../blueprint.js'
import type {TaskContext} from '../context.js'
import type {DispatcherControl} from '../dispatcher.js'
import {dispatcherFarEnd} from '../git/far-end.js'
import type {GitTargets} from './cases-git.js'
import type {VerifyCase} from './judge.js'

export interface ProjectGit extends GitTargets {
  /** as the dispatcher names it */
  repository: string
}

/** What the throwaway task may do with git, as its own grant says it. */
export async function projectGit(
  project: TaskProject,
  dispatcher: DispatcherControl,
  {task, branch, nonce}: {task: string; branch: string; nonce: string},
): Promise<ProjectGit> {
  const agent = 'shell'
  const {remote, fork, repository} = await project.blueprint(agent)
  const {branches, defaultBranch} = await dispatcher.refs(repository)
  const {git} = await project.prepareGrant({
    task,
    branch,
    base: defaultBranch,
    agent,
    revision: 1,
    placeholders: {},
  })
  const [known = ''] = branches.values()
  return {
    grant: JSON.parse(git.body) as GitGrant,
    url: fork ?? remote,
    nonce,
    idLength: known.length,
    repository,
  }
}

/** The judge of all pushes is what the upstream has of this run. */
export async function refsAfterwards(
  dispatcher: DispatcherControl,
  {grant, nonce, repository}: ProjectGit,
): Promise<VerifyCase> {
  const {branches} = await dispatcher.refs(repository)
  const expected = grant.upstream.kind === 'hosted' ? [grant.branch] : []
  const found = [...branches.keys()].filter((name) => name === grant.branch || name.includes(nonce))
  return {
    id: 'GIT-1.refs',
    class: 'GIT',
    where: 'machine',
    attack: 'the branches that all these pushes left behind',
    expect: expected.length > 0 ? 'the harmless one, of the task itself' : 'none',
    got: found.join(', ') || 'none',
    ok: found.join() === expected.join(),
  }
}

/** Takes the throwaway branch away again, as the person would. */
export async function removeBranch(
  context: TaskContext,
  dispatcher: DispatcherControl,
  {grant, repository, idLength}: ProjectGit,
): Promise<void> {
  if (grant.upstream.kind !== 'hosted') return
  const tip = (await dispatcher.refs(repository)).branches.get(grant.branch)
  if (tip === undefined) return
  const line = `${tip} ${'0'.repeat(idLength)} refs/heads/${grant.branch}\0report-status`
  const [stdout, stderr] = [new BoundedText(0), new BoundedText(2048)]
  const end = dispatcherFarEnd(context.cluster, context.id, repository, () => dispatcher.pod())
  const request = `${(line.length + 4).toString(16).padStart(4, '0')}${line}0000`
  await end.serve(
    'receive-pack',
    {stdin: Readable.from([Buffer.from(request)]), stdout, stderr},
    context.signal,
  )
  if ((await dispatcher.refs(repository)).branches.has(grant.branch))
    throw new CageError(`the throwaway branch ${grant.branch} could not be removed`, {
      code: 'VERIFY_FAILED',
      hints: [`Remove it: git push cage --delete ${grant.branch}`],
    })
}
