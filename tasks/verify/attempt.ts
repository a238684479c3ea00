import {Readable} from 'node:stream'
import {CageError, messageOf} from '../../core/errors.js'
import {container} from '../../core/layout.js'
import {BoundedText} from '../agent-state.js'
import {namespaceOf, type TaskContext} from '../context.js'
import {podRef} from '../store.js'
import {ATTACKER} from './attacker.js'
import type {Attack} from './cases.js'

const MAX_ANSWER = 256 * 1024
const ATTACK_MS = 120_000

/** What each attempt says, by its id. Throws when the attacker itself could not run: nothing was proved then. */
export async function attempt(
  context: TaskContext,
  task: string,
  list: readonly Attack[],
  atOnce = 8,
): Promise<Map<string, string>> {
  const out = new BoundedText(MAX_ANSWER)
  const problem = new BoundedText(2048)
  const late = AbortSignal.timeout(ATTACK_MS)
  const code = await context.cluster.exec({
    namespace: namespaceOf(context),
    pod: podRef(context, task).name,
    container: container.agent,
    argv: ['python3', '-c', ATTACKER, String(atOnce)],
    stdin: Readable.from([Buffer.from(JSON.stringify(list.map(({id, do: act}) => ({id, do: act}))))]),
    stdout: out,
    stderr: problem,
    signal: context.signal ? AbortSignal.any([context.signal, late]) : late,
  })
  if (code !== 0)
    throw new CageError(
      `the attacks in task ${task} did not run (exit code ${code}): ${problem.text.trim()}`,
      {
        code: 'VERIFY_FAILED',
      },
    )
  return parseSaid(out.text)
}

export function parseSaid(text: string): Map<string, string> {
  const said = new Map<string, string>()
  for (const line of text.split('\n').filter((one) => one !== '')) {
    try {
      const one = JSON.parse(line) as {id?: unknown; said?: unknown}
      if (typeof one.id === 'string' && typeof one.said === 'string') said.set(one.id, one.said)
    } catch (cause) {
      throw new CageError(`an attack said something unreadable: ${messageOf(cause)}`, {
        code: 'VERIFY_FAILED',
        cause,
      })
    }
  }
  return said
}
