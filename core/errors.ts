/** Exit codes of the CLI, fixed for scripts: see docs/reference/exit-codes.md. */
export const ExitCode = {
  done: 0,
  failed: 1,
  usage: 2,
  precondition: 3,
  denied: 4,
  deadline: 5,
  notFound: 6,
  interrupted: 130,
  /** cage's own failure inside `task exec` and `attach`, as with ssh */
  transport: 255,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

export interface CageErrorOptions {
  /** stable identifier for scripts, upper snake case, e.g. `MACHINE_NOT_RUNNING` */
  code: string
  /** what the person can do next, one imperative sentence each */
  hints?: readonly string[]
  /** default: 1, failed */
  exitCode?: ExitCode
  cause?: unknown
}

/** An expected failure: rendered without a stack trace, with its hints and exit code. */
export class CageError extends Error {
  readonly code: string
  readonly hints: readonly string[]
  readonly exitCode: ExitCode

  constructor(message: string, options: CageErrorOptions) {
    super(message, {cause: options.cause})
    this.name = 'CageError'
    this.code = options.code
    this.hints = options.hints ?? []
    this.exitCode = options.exitCode ?? ExitCode.failed
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
