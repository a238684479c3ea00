import type {TaskRecord} from '../tasks/task.js'
import type {Comparison} from '../tasks/git/compare.js'
import {messageFilter} from './remote-helper/protocol.js'
import type {ProjectContext} from './project-context.js'
import {dispatcherRepositoryOf} from './task-context.js'

/** A task's pushed branch beside its base, seen from the person's repository. */
export async function comparisonOf(
  project: ProjectContext,
  {branch, base}: Pick<TaskRecord, 'branch' | 'base'>,
): Promise<Comparison> {
  const {runner, repository, env, signal} = project
  return {
    local: {runner, directory: repository.directory, env},
    farEnd: await dispatcherRepositoryOf(project),
    branch,
    base,
    receive: {signal, onMessage: messageFilter(process.stderr)},
  }
}
