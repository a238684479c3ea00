import {CageError} from '../../core/errors.js'
import type {CommandResult} from '../../core/runner.js'
import type {Transport} from './transport.js'
import {writeFileArgv} from './write-file.js'

/** Exit code and text of provision/guest/node/enter.sh when there is nothing to enter. */
const NOTHING = {code: 125, text: 'cage: the node does not run'}

/**
 * Runs commands inside what a program of an outer system enters: the node in the namespaces of a server or a virtual
 * machine. `enter` is followed by the command, or by `--terminal` and the command.
 */
export function enteredTransport(outer: Transport, enter: readonly [string, ...string[]]): Transport {
  const inside = (argv: readonly string[]): [string, ...string[]] => [...enter, ...argv]
  const demand = ({code, stderr}: CommandResult) => {
    if (code !== NOTHING.code || stderr.trim() !== NOTHING.text) return
    throw new CageError('the machine does not run', {code: 'MACHINE_NOT_RUNNING', hints: ['Run `cage up`.']})
  }
  return {
    async run({argv, ...rest}) {
      const result = await outer.run({...rest, argv: inside(argv)})
      demand(result)
      return result
    },
    start: ({argv, ...rest}) => outer.start({...rest, argv: inside(argv)}),
    async writeFile(path, content, mode) {
      const result = await outer.run({argv: inside(writeFileArgv(path, mode)), input: content})
      demand(result)
      if (result.code === 0) return
      throw new CageError(`cannot write ${path} on the machine: ${result.stderr.trim()}`, {
        code: 'COMMAND_FAILED',
      })
    },
    interactive: (argv) => outer.interactive(inside(['--terminal', ...argv])),
  }
}
