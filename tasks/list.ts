import {clusterNames} from '../core/layout.js'
import {readAgentState, startingAgent} from './agent-state.js'
import {namespaceOf, type TaskContext} from './context.js'
import {readCounts} from './counts.js'
import {findStored, listStored, type StoredTask} from './store.js'
import type {AgentReport, Task} from './task.js'

/** All tasks of the project, oldest first, with what their pods say about themselves. */
export async function listTasks(context: TaskContext): Promise<Task[]> {
  const stored = await listStored(context)
  return Promise.all(stored.map((task) => describeTask(context, task)))
}

/** Errors: TASK_NOT_FOUND, TASK_AMBIGUOUS. */
export async function showTask(context: TaskContext, wanted: string | undefined): Promise<Task> {
  return describeTask(context, await findStored(context, wanted))
}

/** A task whose agent began a moment ago: it has asked for nothing yet, so its sidecar is not asked what it counted. */
export async function showBeginning(context: TaskContext, wanted: string): Promise<Task> {
  return describeTask(context, await findStored(context, wanted), false)
}

async function describeTask(context: TaskContext, stored: StoredTask, counted = true): Promise<Task> {
  const {name, record, view, created} = stored
  const running = view.phase === 'Running'
  const [agent, counts] = await Promise.all([
    running ? askAgent(context, stored) : (record.agentAtStop ?? startingAgent),
    running && counted ? readCounts(context, stored) : undefined,
  ])
  return {
    name,
    branch: record.branch,
    base: record.base,
    phase: view.phase,
    agent: {name: record.agent, ...agent},
    pod: clusterNames.pod(name),
    namespace: namespaceOf(context),
    created,
    ...(view.reason === undefined ? {} : {reason: view.reason}),
    ...(counts ? {counts} : {}),
  }
}

async function askAgent(context: TaskContext, {name}: StoredTask): Promise<AgentReport> {
  const report = await readAgentState(
    context.cluster,
    namespaceOf(context),
    clusterNames.pod(name),
    context.signal,
  )
  return report ?? startingAgent
}
