import {CageError} from '../core/errors.js'
import {readAgentState} from './agent-state.js'
import type {TaskProject} from './blueprint.js'
import {callOptions, namespaceOf, type TaskContext} from './context.js'
import type {DispatcherControl} from './dispatcher.js'
import {placePieces} from './new.js'
import {TaskObjects} from './objects.js'
import {deletePod, type KeepAudit} from './remove.js'
import {podRef, saveRecord, type StoredTask} from './store.js'
import type {TaskRecord} from './task.js'
import {readUnsavedWork} from './unsaved-work.js'

/** Ends the pod and keeps the volume. A task that is stopped already stays so. */
export async function stopTask(
  context: TaskContext,
  stored: StoredTask,
  keepAudit: KeepAudit,
): Promise<void> {
  const {name, record, pod, view} = stored
  if (record.wanted === 'stopped' && !pod) return
  context.reporter.begin(`stop task ${name}`)
  if (view.phase === 'Running') {
    const [agentAtStop, unsavedAtStop] = await Promise.all([
      readAgentState(context.cluster, namespaceOf(context), podRef(context, name).name, context.signal),
      readUnsavedWork(context, name),
    ])
    await saveRecord(context, name, {
      ...record,
      wanted: 'stopped',
      ...(agentAtStop ? {agentAtStop} : {}),
      ...(unsavedAtStop ? {unsavedAtStop} : {}),
    })
  } else await saveRecord(context, name, {...record, wanted: 'stopped'})
  await keepAudit(stored, () => deletePod(context, name))
  context.reporter.done()
}

/**
 * Builds the pod again from the task's record, under the policy and with the credentials of now: also completes a task
 * whose making was interrupted, and mends one whose pod failed or is gone. Resolves when the pod exists.
 * @returns false when the task was running already
 */
export async function startTask(
  context: TaskContext,
  project: TaskProject,
  dispatcher: DispatcherControl,
  stored: StoredTask,
): Promise<boolean> {
  const {name, record, pod, view} = stored
  if (record.wanted === 'removing') {
    throw new CageError(`the removal of task ${name} was interrupted`, {
      code: 'TASK_REMOVING',
      hints: [`Finish it with \`cage task rm ${name}\`.`],
    })
  }
  if (record.wanted === 'running' && view.phase !== 'Failed') return false
  const {branch, base, agent, placeholders} = record
  const blueprint = await project.blueprint(agent)
  await project.resolveCredentials(agent)
  const revision = stored.revision + 1
  const grant = await project.prepareGrant({task: name, branch, base, agent, revision, placeholders})
  const next: TaskRecord = {...record, placeholders: grant.placeholders, wanted: 'running'}
  delete next.agentAtStop
  delete next.unsavedAtStop
  const objects = new TaskObjects({id: context.id, task: name, record: next, revision, blueprint})
  const podObject = objects.pod(grant)
  context.reporter.begin(`start task ${name}`)
  if (pod) await deletePod(context, name)
  // The revision is used up once it may have been seen anywhere.
  await saveRecord(context, name, {...record, placeholders: grant.placeholders}, revision)
  await placePieces(context, dispatcher, {task: name, objects, grant, diskBytes: record.diskBytes})
  await context.cluster.create(podObject, callOptions(context))
  await saveRecord(context, name, next)
  context.reporter.done()
  return true
}
