import {Readable} from 'node:stream'
import {container, program} from '../core/layout.js'
import {BoundedText} from './agent-state.js'
import {namespaceOf, type TaskContext} from './context.js'
import {podRef} from './store.js'
import type {TaskCounts} from './task.js'

const MAX_ANSWER = 256 * 1024
const DEADLINE_MS = 10_000

/** What the sidecar counted since it started; undefined when it cannot be asked. */
export async function readCounts(context: TaskContext, task: string): Promise<TaskCounts | undefined> {
  const answer = new BoundedText(MAX_ANSWER)
  const late = AbortSignal.timeout(DEADLINE_MS)
  try {
    const code = await context.cluster.exec({
      namespace: namespaceOf(context),
      pod: podRef(context, task).name,
      container: container.sidecar,
      argv: ['node', program.proxy, 'control'],
      stdin: Readable.from([Buffer.from('{"op":"metrics"}\n')]),
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

/** `{"ok": true, "result": {"text": "cage_events_total{kind=\"request\",…} 3\n…"}}` */
export function parseCounts(answer: string): TaskCounts | undefined {
  let text: unknown
  try {
    text = (JSON.parse(answer) as {result?: {text?: unknown}} | null)?.result?.text
  } catch {
    return undefined
  }
  if (typeof text !== 'string') return undefined
  const counts = {requests: 0, denials: 0, bytesUp: 0, bytesDown: 0}
  for (const line of text.split('\n')) {
    const [, name, labels = '', value = ''] = /^cage_(\w+)\{([^}]*)\} (\d+)$/.exec(line) ?? []
    const amount = Number(value)
    if (name === 'bytes_up_total') counts.bytesUp += amount
    else if (name === 'bytes_down_total') counts.bytesDown += amount
    else if (name === 'events_total') {
      if (labels.includes('kind="request"')) counts.requests += amount
      if (labels.includes('decision="deny"')) counts.denials += amount
    }
  }
  return counts
}
