import type {Readable, Writable} from 'node:stream'

/** One external command as data. Never a shell string: `argv[0]` is the program. */
export interface Command {
  argv: readonly [string, ...string[]]
  cwd?: string
  /** the whole environment of the child when given; otherwise that of this process */
  env?: Readonly<Record<string, string>>
  /** text or bytes for standard input; absent = empty */
  input?: string | Buffer
  /** milliseconds until SIGTERM, then SIGKILL 2 s later; absent = none */
  timeoutMs?: number
  signal?: AbortSignal
  /** bytes of stdout kept; more is an error. Default 64 MiB */
  maxOutput?: number
  /** called with each chunk of stdout and stderr as it arrives */
  onOutput?: (chunk: Buffer, stream: 'stdout' | 'stderr') => void
}

export interface CommandResult {
  /** exit code; 128 + signal number when a signal ended it */
  code: number
  stdout: Buffer
  /** the last 64 KiB */
  stderr: string
}

/** A started command whose streams the caller drives. */
export interface RunningCommand {
  stdin: Writable
  stdout: Readable
  stderr: Readable
  /** resolves once the process is gone and its streams are closed; never rejects except when it could not start */
  exit: Promise<number>
  kill(signal?: NodeJS.Signals): void
}

/**
 * Runs external programs.
 * - MUST pass argv unchanged and MUST NOT use a shell.
 * - `run` MUST resolve with any exit code; it rejects only when the program cannot start, the deadline passed or the signal fired.
 * - MUST end the child it started when the deadline passes or the signal fires.
 */
export interface Runner {
  run(command: Command): Promise<CommandResult>
  start(command: Omit<Command, 'input' | 'maxOutput' | 'onOutput'>): RunningCommand
}
