import type {CommandResult, RunningCommand} from '../../core/runner.js'

/** One command on the machine, as its root. Never a shell string: `argv[0]` is a program on the machine. */
export interface RemoteCommand {
  argv: readonly [string, ...string[]]
  /** text or bytes for standard input; absent = empty */
  input?: string | Buffer
  /** milliseconds until the command is ended; absent = none */
  timeoutMs?: number
  signal?: AbortSignal
  /** bytes of stdout kept; more is an error. Default 64 MiB */
  maxOutput?: number
  onOutput?: (chunk: Buffer, stream: 'stdout' | 'stderr') => void
}

/**
 * The way to run things on a machine.
 * - MUST pass argv, standard input and output unchanged, and MUST give the command none of this process's environment.
 * - `run` MUST resolve with any exit code; it rejects when the machine is not reached (MACHINE_NOT_RUNNING,
 *   MACHINE_UNREACHABLE), the deadline passed or the signal fired; then the command and what it started on the machine
 *   MUST be ended as well.
 * - `writeFile` MUST be atomic: the path holds the old or the new content, never a part of it.
 */
export interface Transport {
  run(command: RemoteCommand): Promise<CommandResult>
  /** a command whose streams the caller drives, e.g. to pour an image in */
  start(command: Omit<RemoteCommand, 'input' | 'maxOutput' | 'onOutput'>): Promise<RunningCommand>
  /** `mode` is octal text, e.g. `0600`; missing directories are made with mode 0755 */
  writeFile(path: string, content: string | Buffer, mode: string): Promise<void>
  /** the command line that gives a person an interactive shell or program there, to be run on this computer's terminal */
  interactive(argv: readonly string[]): Promise<[string, ...string[]]>
}

/**
 * The way to a Linux system that is reached over a network: its root, and its TCP ports.
 * - The peer MUST prove that it is the one that was pinned before anything is sent to it (HOST_KEY_CHANGED).
 * - `close` MUST end every tunnel and the connection, so that nothing keeps this process alive.
 */
export interface RemoteTransport extends Transport {
  /** A port of this computer's loopback that leads to a TCP address as that system reaches it. */
  tunnel(to: {address: string; port: number}): Promise<{port: number}>
  close(): Promise<void>
}
