import {spawn, type ChildProcess} from 'node:child_process'
import {constants} from 'node:os'
import {CageError, ExitCode} from './errors.js'
import {shellCommand} from './quote.js'
import type {Command, CommandResult, Runner, RunningCommand} from './runner.js'

const KILL_AFTER_MS = 2000
const STDERR_TAIL = 64 * 1024

/** The runner over real processes. */
export const processRunner: Runner = {run, start}

function launch(command: Omit<Command, 'input'>): ChildProcess {
  const [program, ...args] = command.argv
  return spawn(program, args, {
    ...(command.cwd === undefined ? {} : {cwd: command.cwd}),
    ...(command.env === undefined ? {} : {env: {...command.env}}),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

function exitCodeOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal ? constants.signals[signal] : 0)
}

function notStarted(command: Command, cause: NodeJS.ErrnoException): CageError {
  const program = command.argv[0]
  return new CageError(
    cause.code === 'ENOENT'
      ? `${program} is not installed or not on PATH`
      : `cannot start ${program}: ${cause.message}`,
    {code: 'COMMAND_NOT_STARTED', exitCode: ExitCode.precondition, hints: ['Run `cage doctor`.'], cause},
  )
}

function terminate(child: ChildProcess): void {
  child.kill('SIGTERM')
  setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS).unref()
}

function run(command: Command): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = launch(command)
    const maxOutput = command.maxOutput ?? 64 * 1024 * 1024
    const stdout: Buffer[] = []
    let stdoutBytes = 0
    let stderr = ''
    let failure: CageError | undefined
    const abort = (error: CageError) => {
      failure ??= error
      terminate(child)
    }
    const text = () => shellCommand(command.argv)
    const timer =
      command.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            const seconds = Math.round((command.timeoutMs ?? 0) / 1000)
            abort(
              new CageError(`not finished after ${seconds} s: ${text()}`, {
                code: 'COMMAND_DEADLINE',
                exitCode: ExitCode.deadline,
              }),
            )
          }, command.timeoutMs)
    const onAbort = () =>
      abort(new CageError(`interrupted: ${text()}`, {code: 'INTERRUPTED', exitCode: ExitCode.interrupted}))
    if (command.signal?.aborted) onAbort()
    command.signal?.addEventListener('abort', onAbort, {once: true})
    child.stdout?.on('data', (chunk: Buffer) => {
      command.onOutput?.(chunk, 'stdout')
      stdoutBytes += chunk.length
      if (stdoutBytes > maxOutput)
        abort(new CageError(`more than ${maxOutput} bytes of output: ${text()}`, {code: 'COMMAND_OUTPUT'}))
      else stdout.push(chunk)
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      command.onOutput?.(chunk, 'stderr')
      stderr = (stderr + chunk.toString()).slice(-STDERR_TAIL)
    })
    const settle = () => {
      clearTimeout(timer)
      command.signal?.removeEventListener('abort', onAbort)
    }
    child.on('error', (cause) => {
      settle()
      reject(notStarted(command, cause))
    })
    child.on('close', (code, signal) => {
      settle()
      if (failure) reject(failure)
      else resolve({code: exitCodeOf(code, signal), stdout: Buffer.concat(stdout), stderr})
    })
    // A child that closes stdin early is judged by its exit code, not by EPIPE.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(command.input)
  })
}

function start(command: Omit<Command, 'input' | 'maxOutput' | 'onOutput'>): RunningCommand {
  const child = launch(command)
  const {stdin, stdout, stderr} = child
  if (!stdin || !stdout || !stderr)
    throw new CageError(`no pipes for ${command.argv[0]}`, {code: 'COMMAND_NOT_STARTED'})
  stdin.on('error', () => undefined)
  const exit = new Promise<number>((resolve, reject) => {
    child.on('error', (cause) => reject(notStarted(command, cause)))
    child.on('close', (code, signal) => resolve(exitCodeOf(code, signal)))
  })
  exit.catch(() => undefined)
  if (command.timeoutMs !== undefined) {
    const timer = setTimeout(() => terminate(child), command.timeoutMs)
    child.on('close', () => clearTimeout(timer))
  }
  command.signal?.addEventListener('abort', () => terminate(child), {once: true})
  return {stdin, stdout, stderr, exit, kill: (signal) => void child.kill(signal)}
}

/** Runs and demands exit code 0; otherwise throws with the command, its exit code and the tail of stderr. */
export async function runOk(runner: Runner, command: Command): Promise<Buffer> {
  const result = await runner.run(command)
  if (result.code === 0) return result.stdout
  const tail = result.stderr.trim().split('\n').slice(-5).join('\n')
  throw new CageError(`exit code ${result.code}: ${shellCommand(command.argv)}${tail ? `\n${tail}` : ''}`, {
    code: 'COMMAND_FAILED',
  })
}

/** Hands this process's terminal to a program until it ends; resolves with its exit code. Ctrl-C is the program's. */
export async function runInForeground(argv: readonly [string, ...string[]]): Promise<number> {
  const [program, ...args] = argv
  const ignore = () => undefined
  process.on('SIGINT', ignore)
  try {
    return await new Promise<number>((resolve, reject) => {
      const child = spawn(program, args, {stdio: 'inherit'})
      child.on('error', (cause) => reject(notStarted({argv}, cause)))
      child.on('close', (code, signal) => resolve(exitCodeOf(code, signal)))
    })
  } finally {
    process.off('SIGINT', ignore)
  }
}
