import {CageError, ExitCode} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import {annotation, clusterNames, label} from '../core/layout.js'
import type {ObjectRef} from '../kube/cluster.js'
import {callOptions, namespaceOf, noSuchTask, type TaskContext} from './context.js'
import {phaseOf, type PhaseView, type TaskPod} from './phase.js'
import type {TaskRecord} from './task.js'

/** A task as the cluster knows it: its ConfigMap and, while there is one, its pod. */
export interface StoredTask {
  name: string
  record: TaskRecord
  revision: number
  /** RFC 3339 */
  created: string
  pod: TaskPod | undefined
  view: PhaseView
}

const TASK_SELECTOR = `${label.component}=task`

export function configRef(context: Pick<TaskContext, 'id'>, task: string): ObjectRef {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    name: clusterNames.config(task),
    namespace: namespaceOf(context),
  }
}

export function podRef(context: Pick<TaskContext, 'id'>, task: string): ObjectRef {
  return {apiVersion: 'v1', kind: 'Pod', name: clusterNames.pod(task), namespace: namespaceOf(context)}
}

export function secretRef(context: Pick<TaskContext, 'id'>, task: string): ObjectRef {
  return {apiVersion: 'v1', kind: 'Secret', name: clusterNames.grant(task), namespace: namespaceOf(context)}
}

export function claimRefs(context: Pick<TaskContext, 'id'>, task: string): ObjectRef[] {
  return [clusterNames.home(task), clusterNames.ledger(task)].map((name) => ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    name,
    namespace: namespaceOf(context),
  }))
}

/** All tasks of the project, oldest first: two requests, whatever their number. */
export async function listStored(context: TaskContext): Promise<StoredTask[]> {
  const {cluster} = context
  const query = {namespace: namespaceOf(context), labelSelector: TASK_SELECTOR, ...callOptions(context)}
  const [configs, pods] = await Promise.all([
    cluster.list({apiVersion: 'v1', kind: 'ConfigMap', ...query}),
    cluster.list<TaskPod>({apiVersion: 'v1', kind: 'Pod', ...query}),
  ])
  const podOf = new Map(pods.map((pod) => [pod.metadata.labels?.[label.task], pod]))
  return configs
    .map((config) => storedTask(config, podOf.get(config.metadata.labels?.[label.task])))
    .sort((a, b) => (a.created < b.created ? -1 : a.created > b.created ? 1 : a.name < b.name ? -1 : 1))
}

/**
 * The task that a person means by its name or its branch; the only one when nothing is said.
 * Errors: TASK_NOT_FOUND (exit 6), TASK_AMBIGUOUS (exit 2).
 */
export async function findStored(context: TaskContext, wanted: string | undefined): Promise<StoredTask> {
  const tasks = await listStored(context)
  if (wanted !== undefined) {
    const found =
      tasks.find(({name}) => name === wanted) ?? tasks.find(({record}) => record.branch === wanted)
    if (found) return found
    throw noSuchTask(
      wanted,
      tasks.map(({name}) => name),
    )
  }
  const [only, ...more] = tasks
  if (only && more.length === 0) return only
  if (!only) {
    throw new CageError('there is no task yet', {
      code: 'TASK_NOT_FOUND',
      exitCode: ExitCode.notFound,
      hints: ['Start one with `cage task new <branch>`.'],
    })
  }
  throw new CageError('there are several tasks: say which', {
    code: 'TASK_AMBIGUOUS',
    exitCode: ExitCode.usage,
    hints: [`Tasks: ${tasks.map(({name}) => name).join(', ')}.`],
  })
}

export function storedTask(config: KubeObject, pod: TaskPod | undefined): StoredTask {
  const {labels = {}, annotations = {}, creationTimestamp = ''} = config.metadata
  const name = labels[label.task] ?? config.metadata.name
  const record = parseRecord(annotations[annotation.record])
  const shown = {
    name,
    revision: Number(annotations[annotation.revision] ?? 0),
    created: creationTimestamp,
    pod,
  }
  if (record) return {...shown, record, view: phaseOf(record.wanted, pod)}
  return {
    ...shown,
    record: {
      version: 1,
      branch: annotations[annotation.branch] ?? name,
      base: annotations[annotation.base] ?? '',
      agent: annotations[annotation.agent] ?? '',
      existing: false,
      args: [],
      wanted: 'removing',
      diskBytes: 0,
      placeholders: {},
    },
    view: {
      phase: 'Failed',
      reason: 'its record cannot be read: another version of cage made it, or it was changed by hand',
    },
  }
}

/** Writes the record; `revision` when the grant changed with it. */
export async function saveRecord(
  context: TaskContext,
  task: string,
  record: TaskRecord,
  revision?: number,
): Promise<void> {
  await context.cluster.patch(
    configRef(context, task),
    {
      metadata: {
        annotations: {
          [annotation.record]: JSON.stringify(record),
          ...(revision === undefined ? {} : {[annotation.revision]: String(revision)}),
        },
      },
    },
    callOptions(context),
  )
}

function parseRecord(text: string | undefined): TaskRecord | undefined {
  try {
    const record = JSON.parse(text ?? '') as Partial<TaskRecord>
    return record.version === 1 && typeof record.branch === 'string' ? (record as TaskRecord) : undefined
  } catch {
    return undefined
  }
}
