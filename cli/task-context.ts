import type {TaskContext} from '../tasks/context.js'
import {clusterNames} from '../core/layout.js'
import {DispatcherControl} from '../tasks/dispatcher.js'
import {dispatcherFarEnd, type FarEnd} from '../tasks/git/far-end.js'
import {volumesIn} from './cluster-facts.js'
import {repositoryAtDispatcher} from './hosted-repository.js'
import type {ProjectContext} from './project-context.js'
import {upstreamSettings} from './upstreams.js'

/** What actions on tasks work with, for this project. Errors: CLUSTER_MISSING, exit 3. */
export async function taskContext(project: ProjectContext): Promise<TaskContext> {
  return {
    cluster: await project.cluster(),
    id: project.id,
    reporter: project.reporter,
    clock: project.clock,
    volumes: await volumesIn(project, clusterNames.taskNamespace(project.id)),
    signal: project.signal,
  }
}

export async function dispatcherControl(project: ProjectContext): Promise<DispatcherControl> {
  const {id, clock, signal} = project
  const upstreams = upstreamSettings(project)
  return new DispatcherControl({cluster: await project.cluster(), id, clock, signal, upstreams})
}

/** Address of the fork that tasks push to; undefined in a project without. Errors: FORK_MISSING, exit 3. */
export async function forkOf(
  {settings}: Pick<ProjectContext, 'settings'>,
  control: DispatcherControl,
): Promise<string | undefined> {
  return settings.repository.mode === 'fork' ? control.fork() : undefined
}

/** The hosted repository, or the dispatcher's copy of where branches go, for the person's own git. */
export async function dispatcherRepositoryOf(project: ProjectContext): Promise<FarEnd> {
  const control = await dispatcherControl(project)
  const repository = repositoryAtDispatcher(project.settings, await forkOf(project, control))
  return dispatcherFarEnd(await project.cluster(), project.id, repository, async () => {
    await control.tellUpstreams()
    return control.pod()
  })
}
