import type {Writable} from 'node:stream'
import type {TaskContext} from '../../tasks/context.js'
import {execInTask, inClone, requireRunning} from '../../tasks/exec.js'
import type {StoredTask} from '../../tasks/store.js'
import {ExitCode} from '../../core/errors.js'
import {TerminalFilter} from './filter.js'
import {filtered, withTerminal, type Terminal} from './session.js'

export interface ExecEnds extends Terminal {
  errors: Writable & {isTTY?: boolean}
}

/**
 * A command in a task's clone: with a terminal when input and output are one, else with three plain streams. Whatever
 * of its output goes to a terminal passes the filter; bytes into a file or a pipe stay as they are.
 * @returns the command's own exit code
 */
export async function runInTask(
  context: TaskContext,
  stored: StoredTask,
  argv: readonly [string, ...string[]],
  ends: ExecEnds,
): Promise<number> {
  requireRunning(stored)
  const {input, output, errors} = ends
  const command = inClone(argv)
  if (input.isTTY && output.isTTY) {
    const code = await withTerminal(ends, (streams) => execInTask(context, stored.name, command, streams))
    return code === 'left' ? ExitCode.interrupted : code
  }
  const filters = [new TerminalFilter(), new TerminalFilter()] as const
  const guarded = (end: Writable & {isTTY?: boolean}, filter: TerminalFilter) =>
    end.isTTY ? filtered(filter, end) : end
  try {
    return await execInTask(context, stored.name, command, {
      stdin: input,
      stdout: guarded(output, filters[0]),
      stderr: guarded(errors, filters[1]),
    })
  } finally {
    if (output.isTTY) output.write(filters[0].reset())
    if (errors.isTTY) errors.write(filters[1].reset())
    // A terminal or a pipe that nobody ends would keep this process alive.
    input.destroy()
  }
}
