import {CageError} from '../../core/errors.js'
import type {CommandResult, Runner, RunningCommand} from '../../core/runner.js'

/** Where one git program works. */
export interface GitPlace {
  /** the bare repository */
  directory?: string
  /** objects are written here and read from here and from the repository */
  quarantine?: string
  /** value for GIT_PROTOCOL, already checked */
  protocol?: string
  /** bytes of the largest single allocation, so that a small pack cannot unfold into all of memory */
  allocation?: number
  /** bytes that the program may fill with what it reads and makes; maps of files do not count (setrlimit(2), RLIMIT_DATA) */
  memory?: number
  /** may speak HTTP, to the loopback: there is nothing else here */
  allowHttp?: boolean
}

export interface GitRun extends GitPlace {
  input?: string | Buffer
  signal?: AbortSignal
}

/** git programs with an environment built from nothing: no configuration, hook path, credential or prompt of anybody. */
export class GitPrograms {
  readonly #runner: Runner

  constructor(runner: Runner) {
    this.#runner = runner
  }

  run(args: readonly string[], {input, signal, ...place}: GitRun = {}): Promise<CommandResult> {
    return this.#runner.run({
      argv: ['git', ...args],
      cwd: '/',
      env: environment(place),
      ...(input === undefined ? {} : {input}),
      ...(signal ? {signal} : {}),
    })
  }

  /** Runs and demands exit code 0. */
  async ok(args: readonly string[], options: GitRun = {}): Promise<string> {
    const result = await this.run(args, options)
    if (result.code !== 0) throw gitFailed(args, result.code, result.stderr)
    return result.stdout.toString()
  }

  start(args: readonly string[], place: GitPlace, signal?: AbortSignal): RunningCommand {
    const {memory} = place
    const limits = memory === undefined ? [] : ['prlimit', `--data=${memory}`]
    const [program = 'git', ...words] = [...limits, 'git', ...args]
    return this.#runner.start({
      argv: [program, ...words],
      cwd: '/',
      env: environment(place),
      ...(signal ? {signal} : {}),
    })
  }
}

export function gitFailed(args: readonly string[], code: number, stderr: string): CageError {
  const detail = firstError(stderr)
  return new CageError(`git ${args[0] ?? ''} ended with ${code}${detail ? `: ${detail}` : ''}`, {
    code: saysDiskFull(stderr) ? 'DISK_FULL' : 'GIT_FAILED',
  })
}

/** Programs of git have more than one way to say it. */
export function saysDiskFull(stderr: string): boolean {
  return /No space left on device|Out of diskspace|Disk quota exceeded|File too large/.test(stderr)
}

/** What git complains about first, without paths of this computer. */
export function firstError(stderr: string): string {
  const line = stderr.split(/[\r\n]+/).find((text) => /^(fatal|error): /.test(text)) ?? ''
  return line.replace(/^(fatal|error): /, '').replace(/'?\/[^\s':]*'?/g, '<path>')
}

function environment(place: GitPlace): Record<string, string> {
  return {
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_NO_LAZY_FETCH: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_TERMINAL_PROMPT: '0',
    HOME: '/nonexistent',
    LC_ALL: 'C',
    PATH: '/usr/local/bin:/usr/bin:/bin',
    ...(place.directory === undefined ? {} : {GIT_DIR: place.directory}),
    ...(place.directory === undefined || place.quarantine === undefined
      ? {}
      : {
          GIT_ALTERNATE_OBJECT_DIRECTORIES: `${place.directory}/objects`,
          GIT_OBJECT_DIRECTORY: place.quarantine,
          GIT_QUARANTINE_PATH: place.quarantine,
        }),
    ...(place.allowHttp ? {GIT_ALLOW_PROTOCOL: 'http'} : {}),
    ...(place.protocol === undefined ? {} : {GIT_PROTOCOL: place.protocol}),
    ...(place.allocation === undefined ? {} : {GIT_ALLOC_LIMIT: String(place.allocation)}),
  }
}
