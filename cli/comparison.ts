import type {TaskRecord} from '../tasks/task.js'
import type {Comparison} from '../tasks/git/compare.js'
import {messageFilter} from './remote-helper/protocol.js'
import type {ProjectContext} from './project-context.js'
import {repositoryAtDispatcher} from './hosted-repository.js'
import {dispatcherControl, dispatcherRepositoryOf, forkOf} from './task-context.js'

/** A task's pushed branch beside its base, seen from the person's repository. */
export async function comparisonOf(
  project: ProjectContext,
  {branch, base}: Pick<TaskRecord, 'branch' | 'base'>,
): Promise<Comparison> {
  const {runner, repository, env, signal} = project
  const baseTip = await originTip(project, base)
  return {
    local: {runner, directory: repository.directory, env},
    farEnd: await dispatcherRepositoryOf(project),
    branch,
    base,
    ...(baseTip === undefined ? {} : {baseTip}),
    receive: {signal, onMessage: messageFilter(process.stderr)},
  }
}

/** Tasks that push to a fork start from branches of what it was forked from. */
async function originTip(project: ProjectContext, base: string): Promise<string | undefined> {
  const control = await dispatcherControl(project)
  const fork = await forkOf(project, control)
  if (fork === undefined) return undefined
  return (await control.refs(repositoryAtDispatcher(project.settings, fork))).bases.get(base)
}
