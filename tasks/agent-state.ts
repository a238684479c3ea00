import {Writable} from 'node:stream'
import {agentPath, container} from '../core/layout.js'
import type {Cluster} from '../kube/cluster.js'
import type {AgentReport, AgentState} from './task.js'

const STATES: readonly AgentState[] = ['starting', 'working', 'waiting', 'done', 'failed']
const MAX_BYTES = 4096
const DEADLINE_MS = 10_000

export const startingAgent: AgentReport = {state: 'starting', exitCode: null}

/** The agent's own file, which it can write: anything but the exact shape counts as not said. */
export function parseAgentState(text: string): AgentReport | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const {state, exitCode} = value as {state?: unknown; exitCode?: unknown}
  const known = STATES.find((name) => name === state)
  if (known === undefined) return undefined
  const ended = known === 'done' || known === 'failed'
  const code = Number.isInteger(exitCode) && (exitCode as number) >= 0 && (exitCode as number) <= 255
  return {state: known, exitCode: ended && code ? (exitCode as number) : null}
}

/** The state that the agent's container shows now; undefined when it cannot be asked or says nothing sensible. */
export async function readAgentState(
  cluster: Cluster,
  namespace: string,
  pod: string,
  signal?: AbortSignal,
): Promise<AgentReport | undefined> {
  const late = AbortSignal.timeout(DEADLINE_MS)
  const text = new BoundedText(MAX_BYTES)
  try {
    const code = await cluster.exec({
      namespace,
      pod,
      container: container.agent,
      argv: ['head', '-c', String(MAX_BYTES), `${agentPath.state}/state.json`],
      stdout: text,
      signal: signal ? AbortSignal.any([signal, late]) : late,
    })
    return code === 0 ? parseAgentState(text.text) : undefined
  } catch {
    // A container that is restarting has no state to show; the phase tells about it.
    signal?.throwIfAborted()
    return undefined
  }
}

/** Keeps the beginning of what is written and lets the rest go by. */
export class BoundedText extends Writable {
  private readonly chunks: Buffer[] = []
  private size = 0
  private readonly max: number

  constructor(max: number) {
    super()
    this.max = max
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const rest = this.max - this.size
    if (rest > 0) this.chunks.push(chunk.subarray(0, rest))
    this.size += Math.min(chunk.length, Math.max(rest, 0))
    done()
  }
}
