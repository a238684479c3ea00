import {CageError} from '../../core/errors.js'
import {shellCommand} from '../../core/quote.js'
import type {RemoteCommand, Transport} from './transport.js'

/** Runs and demands exit code 0; the text of stdout. Errors: MACHINE_COMMAND_FAILED with the tail of stderr. */
export async function output(transport: Transport, command: RemoteCommand): Promise<string> {
  const {code, stdout, stderr} = await transport.run(command)
  if (code === 0) return stdout.toString()
  const tail = stderr.trim().split('\n').slice(-5).join('\n')
  throw new CageError(
    `on the machine: ${shellCommand(command.argv)}: exit code ${code}${tail ? `\n${tail}` : ''}`,
    {
      code: 'MACHINE_COMMAND_FAILED',
    },
  )
}
