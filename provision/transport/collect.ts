import {CageError} from '../../core/errors.js'
import {shellCommand} from '../../core/quote.js'
import type {CommandResult, RunningCommand} from '../../core/runner.js'

const STDERR_TAIL = 64 * 1024

/** Reads a started command to its end. `fail` is called once, with COMMAND_OUTPUT, when it says more than `maxOutput` bytes. */
export async function collect(
  {stdout, stderr, exit}: RunningCommand,
  options: {
    argv: readonly string[]
    maxOutput?: number
    onOutput?: (chunk: Buffer, stream: 'stdout' | 'stderr') => void
    fail: (error: CageError) => void
  },
): Promise<CommandResult> {
  const most = options.maxOutput ?? 64 * 1024 * 1024
  const kept: Buffer[] = []
  let bytes = 0
  let tail = ''
  stdout.on('data', (chunk: Buffer) => {
    options.onOutput?.(chunk, 'stdout')
    bytes += chunk.length
    if (bytes <= most) kept.push(chunk)
    else
      options.fail(
        new CageError(`more than ${most} bytes of output: ${shellCommand(options.argv)}`, {
          code: 'COMMAND_OUTPUT',
        }),
      )
  })
  stderr.on('data', (chunk: Buffer) => {
    options.onOutput?.(chunk, 'stderr')
    tail = (tail + chunk.toString()).slice(-STDERR_TAIL)
  })
  const ended = (stream: typeof stdout) =>
    new Promise<void>((next) => {
      stream.once('end', next)
      stream.once('close', next)
    })
  const [code] = await Promise.all([exit, ended(stdout), ended(stderr)])
  return {code, stdout: Buffer.concat(kept), stderr: tail}
}
