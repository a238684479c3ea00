import {container, program} from '../core/layout.js'
import {BoundedText} from './agent-state.js'
import {namespaceOf, type TaskContext} from './context.js'
import type {TaskPod} from './phase.js'
import {podRef, type StoredTask} from './store.js'
import type {TaskCounts, TaskSpend} from './task.js'

const MAX_ANSWER = 4096
const DEADLINE_MS = 10_000
/** Counts in the pod, so that only numbers travel; texts of an agent cannot hold these bytes, JSON escapes their quotes. */
const COUNT = `echo '{"op":"status"}' | node "$0" control
node "$0" audit --since "$1" | grep -o '"kind":"request"\\|"decision":"deny"' | sort | uniq -c`

/** What the agent asked for and was refused since it started in this pod; undefined when the sidecar cannot be asked. */
export async function readCounts(
  context: TaskContext,
  {name, pod}: StoredTask,
): Promise<TaskCounts | undefined> {
  const since = agentBegan(pod)
  if (since === undefined) return undefined
  const answer = new BoundedText(MAX_ANSWER)
  const late = AbortSignal.timeout(DEADLINE_MS)
  try {
    const code = await context.cluster.exec({
      namespace: namespaceOf(context),
      pod: podRef(context, name).name,
      container: container.sidecar,
      argv: ['sh', '-c', COUNT, program.proxy, since],
      stdout: answer,
      signal: context.signal ? AbortSignal.any([context.signal, late]) : late,
    })
    return code === 0 ? parseCounts(answer.text) : undefined
  } catch {
    // A sidecar that restarts has nothing to say; it comes back by itself.
    context.signal?.throwIfAborted()
    return undefined
  }
}

/** What probe and clone caused before is cage's own; their end is known to the second. */
function agentBegan(pod: TaskPod | undefined): string | undefined {
  const clone = pod?.status?.initContainerStatuses?.find(({name}) => name === container.clone)
  const finished = Date.parse(clone?.state?.terminated?.finishedAt ?? '')
  return Number.isNaN(finished) ? undefined : new Date(finished + 1000).toISOString()
}

/** The status of the sidecar, and lines of `uniq -c`. */
export function parseCounts(text: string): TaskCounts {
  const count = (what: string) => Number(new RegExp(`^ *(\\d{1,12}) ${what}$`, 'm').exec(text)?.[1] ?? 0)
  const spend = parseSpend(text.split('\n').find((line) => line.startsWith('{')))
  return {
    requests: count('"kind":"request"'),
    denials: count('"decision":"deny"'),
    ...(spend === undefined ? {} : {spend}),
  }
}

function parseSpend(line: string | undefined): TaskSpend | undefined {
  if (line === undefined) return undefined
  try {
    const {spend} = (JSON.parse(line) as {result?: {spend?: Partial<TaskSpend>}}).result ?? {}
    const {tokens, usd, seconds} = spend ?? {}
    const all = {tokens, usd, seconds}
    return Object.values(all).every((value) => Number.isFinite(value)) ? (all as TaskSpend) : undefined
  } catch {
    return undefined
  }
}
