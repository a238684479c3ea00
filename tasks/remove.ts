import {CageError} from '../core/errors.js'
import {clusterNames} from '../core/layout.js'
import {callOptions, type TaskContext} from './context.js'
import type {DispatcherControl} from './dispatcher.js'
import {claimRefs, configRef, podRef, saveRecord, secretRef, type StoredTask} from './store.js'

const POD_GONE_MS = 120_000
const CLAIM_GONE_MS = 60_000

/** Keeps the audit of a task that is about to lose its sidecar; resolves when nothing more will come. */
export type KeepAudit = (task: StoredTask, whilePodEnds: () => Promise<void>) => Promise<void>

/**
 * Removes a task and everything that belongs to it; can be repeated after a crash at any point.
 * The rights end first, the record goes last.
 */
export async function removeTask(
  context: TaskContext,
  dispatcher: DispatcherControl,
  stored: StoredTask,
  keepAudit: KeepAudit,
): Promise<void> {
  const {name, record} = stored
  context.reporter.begin(`remove task ${name}`)
  await saveRecord(context, name, {...record, wanted: 'removing'})
  await keepAudit(stored, () => deletePod(context, name))
  await removePieces(context, dispatcher, name)
  context.reporter.done()
}

export async function removePieces(
  context: TaskContext,
  dispatcher: DispatcherControl,
  task: string,
): Promise<void> {
  const {cluster, volumes} = context
  await Promise.all([dispatcher.removeDocument(task), deletePod(context, task)])
  const wait = {wait: {deadlineMs: CLAIM_GONE_MS}, ...callOptions(context)}
  await Promise.all([
    cluster.delete(secretRef(context, task), callOptions(context)),
    ...claimRefs(context, task).map((ref) => cluster.delete(ref, wait)),
  ])
  await Promise.all([clusterNames.home(task), clusterNames.ledger(task)].map((name) => volumes.remove(name)))
  await cluster.delete(configRef(context, task), callOptions(context))
}

/** Errors: CLUSTER_DEADLINE when the node does not say that its containers ended: they may still write to the volume. */
export async function deletePod(context: TaskContext, task: string): Promise<void> {
  const wait = {wait: {deadlineMs: POD_GONE_MS}, ...callOptions(context)}
  try {
    await context.cluster.delete(podRef(context, task), wait)
  } catch (cause) {
    if (!(cause instanceof CageError) || cause.code !== 'CLUSTER_DEADLINE') throw cause
    throw new CageError(`the pod of task ${task} does not end: its node does not answer`, {
      code: cause.code,
      exitCode: cause.exitCode,
      hints: [
        'With a machine of cage’s own: `cage up` mends it.',
        'In a cluster that was there: bring the node back, or, if it is gone for good, `kubectl delete node NODE`; then try again.',
      ],
      cause,
    })
  }
}
