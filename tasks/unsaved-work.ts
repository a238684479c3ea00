import {container} from '../core/layout.js'
import {BoundedText} from './agent-state.js'
import {inClone} from './exec.js'
import {namespaceOf, type TaskContext} from './context.js'
import {podRef, type StoredTask} from './store.js'
import type {UnsavedWork} from './task.js'

const DEADLINE_MS = 20_000
/** Counts what only the volume has; runs in the pod, where the repository's configuration can do no harm. */
const COUNT = `git rev-list --count --branches --not --remotes && git status --porcelain | wc -l`

/** What would be lost with the volume; undefined when the pod cannot tell. The agent could lie: a courtesy, no guard. */
export async function readUnsavedWork(context: TaskContext, task: string): Promise<UnsavedWork | undefined> {
  const text = new BoundedText(256)
  const late = AbortSignal.timeout(DEADLINE_MS)
  try {
    const code = await context.cluster.exec({
      namespace: namespaceOf(context),
      pod: podRef(context, task).name,
      container: container.agent,
      argv: inClone(['sh', '-c', COUNT]),
      stdout: text,
      signal: context.signal ? AbortSignal.any([context.signal, late]) : late,
    })
    return code === 0 ? parseCounts(text.text) : undefined
  } catch {
    context.signal?.throwIfAborted()
    return undefined
  }
}

export function parseCounts(text: string): UnsavedWork | undefined {
  const match = /^(\d{1,9})\n\s*(\d{1,9})\s*$/.exec(text)
  return match ? {commits: Number(match[1]), files: Number(match[2])} : undefined
}

const NOTHING: UnsavedWork = {commits: 0, files: 0}

/** As the pod says now, or as it said when the task was stopped; undefined when nobody knows. */
export async function unsavedWork(
  context: TaskContext,
  stored: StoredTask,
): Promise<UnsavedWork | undefined> {
  if (stored.view.phase === 'Running') return readUnsavedWork(context, stored.name)
  return neverWorked(stored) ? NOTHING : stored.record.unsavedAtStop
}

/** The agent's container never ran, or the person has agreed to the removal already. */
function neverWorked({record, pod, revision}: StoredTask): boolean {
  // A record that cannot be read has no size: nobody agreed to anything there.
  if (record.wanted === 'removing' && record.diskBytes > 0) return true
  if (revision > 1) return false
  if (!pod) return record.wanted === 'creating'
  const agent = pod.status?.containerStatuses?.find(({name}) => name === container.agent)
  return (
    agent?.state?.running === undefined &&
    agent?.state?.terminated === undefined &&
    !agent?.lastState?.terminated
  )
}
