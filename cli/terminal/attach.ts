import {requireRunning, attachArgv, execInTask, hasSessionArgv} from '../../tasks/exec.js'
import {BoundedText, readAgentState} from '../../tasks/agent-state.js'
import {namespaceOf, type TaskContext} from '../../tasks/context.js'
import {podRef, type StoredTask} from '../../tasks/store.js'
import {CageError, ExitCode} from '../../core/errors.js'
import {visible} from '../../core/quote.js'
import {withTerminal, type Terminal} from './session.js'

const SESSION_TRIES = 40
const PAUSE_MS = 250
/** xterm's title stack: the person's own title comes back after the session */
const SAVE_TITLE = '\u001b[22;2t'
const RESTORE_TITLE = '\u001b[23;2t'

/**
 * Shows the agent's terminal until the person detaches (C-b d) or the session ends.
 * @returns what to tell the person afterwards
 * Errors: NO_TERMINAL, TASK_NOT_RUNNING, ATTACH_FAILED.
 */
export async function attachToTask(
  context: TaskContext,
  stored: StoredTask,
  terminal: Terminal,
): Promise<string> {
  const {name} = stored
  requireTerminal(terminal)
  requireRunning(stored)
  await sessionIsThere(context, name)
  terminal.output.write(SAVE_TITLE)
  const code = await withTerminal(terminal, async (streams) => {
    const {signal, ...rest} = streams
    return execInTask(context, name, attachArgv, {...rest, signal})
  }).finally(() => terminal.output.write(RESTORE_TITLE))
  const again = `\`cage attach ${name}\` returns to it`
  if (code === 'left') return `detached; the agent keeps running, ${again}`
  if (code !== 0) {
    throw new CageError(`the terminal of task ${name} ended with exit code ${code}`, {
      code: 'ATTACH_FAILED',
      exitCode: ExitCode.transport,
      hints: [`See \`cage task show ${name}\`.`],
    })
  }
  const report = await readAgentState(context.cluster, namespaceOf(context), podRef(context, name).name)
  if (report?.state === 'done' || report?.state === 'failed')
    return `the agent has ended (${report.state}, exit code ${report.exitCode ?? 'unknown'}); \`cage task diff ${name}\` shows its work`
  return `detached; the agent keeps running, ${again}`
}

export function requireTerminal({input, output}: Terminal): void {
  if (input.isTTY && output.isTTY) return
  throw new CageError('attach needs a terminal', {
    code: 'NO_TERMINAL',
    exitCode: ExitCode.transport,
    hints: ['In a script use `cage task exec`, `cage task logs` or `cage task show --json`.'],
  })
}

/** The container runs a moment before its tmux does. */
async function sessionIsThere(context: TaskContext, task: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const said = new BoundedText(1024)
    const code = await execInTask(context, task, hasSessionArgv, {stdout: said, stderr: said})
    if (code === 0) return
    if (attempt === SESSION_TRIES) {
      throw new CageError(
        `task ${task} shows no terminal: ${visible(said.text.trim()) || `exit code ${code}`}`,
        {
          code: 'ATTACH_FAILED',
          exitCode: ExitCode.transport,
          hints: [`See \`cage task logs ${task}\`.`],
        },
      )
    }
    await context.clock.sleep(PAUSE_MS, context.signal)
  }
}
