import {stat} from 'node:fs/promises'
import {CageError, ExitCode} from '../../core/errors.js'
import type {CommandResult} from '../../core/runner.js'

/**
 * What a program that drives guests said when it failed, with the logs that are there.
 * Errors: MACHINE_TOOL_MISSING (exit 3) when the program is not there, MACHINE_DRIVER_FAILED otherwise.
 */
export async function guestFailure(
  program: string,
  args: readonly string[],
  {code, stdout, stderr}: CommandResult,
  logs: readonly string[],
): Promise<CageError> {
  if (code === 127) {
    return new CageError(`${program} is not installed or not on PATH`, {
      code: 'MACHINE_TOOL_MISSING',
      exitCode: ExitCode.precondition,
      hints: ['Run `cage doctor`.'],
    })
  }
  const lines = (stderr.trim() || stdout.toString().trim()).split('\n')
  // Ruby says the reason first and then every frame.
  const said = lines
    .filter((line) => !/^\s+from /.test(line))
    .slice(-6)
    .join('\n')
  const there = await Promise.all(logs.map((log) => stat(log).catch(() => undefined)))
  const kept = logs.filter((_, i) => (there[i]?.size ?? 0) > 0)
  return new CageError(`${program} ${args[0] ?? ''}: exit code ${code}${said ? `\n${said}` : ''}`, {
    code: 'MACHINE_DRIVER_FAILED',
    hints: [
      ...(kept.length > 0 ? [`Read ${kept.join(', ')}.`] : []),
      'Run `cage doctor`.',
      'Run `cage up` again: it goes on where it stopped.',
    ],
  })
}
