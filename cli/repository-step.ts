import {CageError, ExitCode} from '../core/errors.js'
import {visible} from '../core/quote.js'
import type {Step} from '../provision/pipeline.js'
import {listBranches} from '../tasks/git/branches.js'
import {addCageRemote, seedHosted} from '../tasks/git/hosted.js'
import {baseBranch, isHosted, repositoryAtDispatcher} from './hosted-repository.js'
import type {ProjectContext} from './project-context.js'
import {dispatcherControl, dispatcherRepositoryOf, forkOf} from './task-context.js'

const DEADLINE_MS = 15 * 60_000

/** Tasks can start from the base branch: it is in the hosted repository, or the dispatcher has seen it upstream. */
export function repositoryStep(project: ProjectContext): Step {
  return isHosted(project.settings) ? hostedStep(project) : upstreamStep(project)
}

/** The hosted repository has the base branch, and the person's repository the remote `cage`. */
function hostedStep(project: ProjectContext): Step {
  const local = {runner: project.runner, directory: project.repository.directory, env: project.env}
  const repository = repositoryAtDispatcher(project.settings)
  return {
    name: 'repository',
    deadlineMs: DEADLINE_MS,
    hints: ['Commit something first: a task needs a base branch.'],
    check: async ({signal}) => {
      const control = await dispatcherControl(project)
      const base = await baseBranch(project)
      await control.tellUpstreams()
      await control.initRepository(repository, base)
      const {branches} = await listBranches(local, await dispatcherRepositoryOf(project), signal)
      if (!branches.some(({branch}) => branch === base)) return false
      return (await addCageRemote(local, project.id)) !== 'added'
    },
    act: async ({signal, detail}) => {
      const base = await baseBranch(project)
      const seeded = await seedHosted(local, await dispatcherRepositoryOf(project), base, {
        signal,
        onMessage: (chunk: Buffer) => detail(visible(chunk.toString().trim()).slice(-80)),
      })
      await addCageRemote(local, project.id)
      const behind = seeded.uncommitted
      return `${base}${behind > 0 ? `; ${behind} uncommitted ${behind === 1 ? 'file stays' : 'files stay'} here` : ''}`
    },
    verify: async ({signal}) => {
      const base = await baseBranch(project)
      const {branches} = await listBranches(local, await dispatcherRepositoryOf(project), signal)
      return branches.some(({branch}) => branch === base)
    },
  }
}

/** The upstream answers with the project's credential, and the fork is there if tasks push to one; the first time its history is copied for comparing with. */
function upstreamStep(project: ProjectContext): Step {
  const {settings} = project
  return {
    name: 'repository',
    deadlineMs: DEADLINE_MS,
    hints: ['Check `repository.upstream` and `repository.credential`, and the way there: `network.hosts`.'],
    check: async () => {
      const control = await dispatcherControl(project)
      const repository = repositoryAtDispatcher(settings, await forkOf(project, control))
      const {bases, defaultBranch} = await control.refs(repository, DEADLINE_MS)
      const base = settings.repository.base ?? defaultBranch
      if (bases.has(base)) return true
      throw new CageError(
        `the upstream ${settings.repository.upstream} has no branch ${JSON.stringify(base)}`,
        {
          code: 'BASE_NOT_FOUND',
          exitCode: ExitCode.usage,
          hints: ['Push it there, or name another: `repository: { base: … }`.'],
        },
      )
    },
    act: () => Promise.resolve(undefined),
  }
}
