import type {Clock} from '../core/clock.js'
import {CageError, ExitCode} from '../core/errors.js'
import {clusterNames} from '../core/layout.js'
import type {Reporter} from '../core/report.js'
import type {Cluster} from '../kube/cluster.js'
import type {Volumes} from './volumes.js'

/** What every action on tasks works with; made by the CLI for one command. */
export interface TaskContext {
  cluster: Cluster
  /** `<project>-<8 hex>` */
  id: string
  reporter: Reporter
  clock: Clock
  volumes: Volumes
  signal?: AbortSignal
}

export function namespaceOf({id}: Pick<TaskContext, 'id'>): string {
  return clusterNames.taskNamespace(id)
}

/** `{signal}` or nothing: optional properties may not be undefined. */
export function callOptions({signal}: Pick<TaskContext, 'signal'>): {signal?: AbortSignal} {
  return signal ? {signal} : {}
}

/** For what has to be finished even when the person interrupted. */
export function uninterruptible({cluster, id, reporter, clock, volumes}: TaskContext): TaskContext {
  return {cluster, id, reporter, clock, volumes}
}

export function noSuchTask(wanted: string, names: readonly string[]): CageError {
  return new CageError(`there is no task ${JSON.stringify(wanted)}`, {
    code: 'TASK_NOT_FOUND',
    exitCode: ExitCode.notFound,
    hints: names.length > 0 ? [`Tasks: ${names.join(', ')}.`] : ['Start one with `cage task new <branch>`.'],
  })
}
