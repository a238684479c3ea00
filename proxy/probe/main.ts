import type {Writable} from 'node:stream'
import {checks, type Check} from './checks.js'

/**
 * Proves from the agent's side that the fence holds and the sidecar answers; otherwise the pod must not start.
 * One line per check. Returns the exit code.
 * @param targets `ADDRESS:PORT` of what is known to answer
 * @param caPath PEM of the pod's CA
 * @param readyWithinMs how long the sidecar and the dispatcher may take to answer
 */
export async function runProbe(
  targets: readonly string[],
  caPath: string,
  output: Writable,
  readyWithinMs = 30_000,
): Promise<number> {
  const closed = targets.filter((text) => text !== '')
  let failures = 0
  // Nobody has shown that silence means a fence when nothing was asked that would answer.
  const all: Check[] =
    closed.length > 0
      ? checks(closed, caPath, readyWithinMs)
      : [{name: 'CAGE_PROBE_CLOSED', run: () => Promise.reject(new Error('names no address'))}]
  for (const {name, run} of all) {
    const problem = await run().then(
      (note) => {
        output.write(`ok    ${name}${note ? `: ${note}` : ''}\n`)
      },
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    )
    if (problem === undefined) continue
    failures++
    output.write(`FAIL  ${name}: ${problem}\n`)
  }
  output.write(
    failures === 0 ? 'probe: the fence holds\n' : `probe: ${failures} failed, the pod must not start\n`,
  )
  return failures === 0 ? 0 : 1
}
