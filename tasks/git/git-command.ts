import {CageError} from '../../core/errors.js'
import {visible} from '../../core/quote.js'
import type {CommandResult, Runner} from '../../core/runner.js'

/** A repository of the person: every command runs in `directory` with their environment. */
export interface LocalRepository {
  runner: Runner
  directory: string
  env: Readonly<Record<string, string>>
}

export type GitArgs = readonly [string, ...string[]]

export interface GitOptions {
  input?: string
  signal?: AbortSignal
  /** stderr as it arrives: progress and the far end's words, not yet filtered */
  onStderr?: (chunk: Buffer) => void
}

/** Whatever a repository's configuration names, these never run for cage. */
const NOTHING_RUNS = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.alternateRefsCommand=true',
  'gc.auto=0',
]
/** The relay looks like a local path to git; no other transport is needed. */
const RELAY_ONLY = ['protocol.allow=never', 'protocol.file.allow=always']

const configArgs = (settings: readonly string[]) => settings.flatMap((setting) => ['-c', setting])

/** git in the person's repository, with nothing of it executed. */
export function localGit(
  {runner, directory, env}: LocalRepository,
  args: GitArgs,
  options: GitOptions = {},
): Promise<CommandResult> {
  return runner.run({
    argv: ['git', ...configArgs([...NOTHING_RUNS, ...RELAY_ONLY]), ...args],
    cwd: directory,
    env: {
      ...env,
      LC_ALL: 'C',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ALLOW_PROTOCOL: 'file',
      GIT_PAGER: 'cat',
      GIT_OPTIONAL_LOCKS: '0',
    },
    ...runOptions(options),
  })
}

/** git under cage's own configuration only: no system or user settings, no hooks, no transport but the relay. */
export function ownGit(
  runner: Runner,
  gitDir: string,
  path: string,
  args: GitArgs,
  options: GitOptions & {settings?: readonly string[]; alternates?: string} = {},
): Promise<CommandResult> {
  return runner.run({
    argv: [
      'git',
      `--git-dir=${gitDir}`,
      ...configArgs([...NOTHING_RUNS, ...RELAY_ONLY, ...(options.settings ?? [])]),
      ...args,
    ],
    cwd: gitDir,
    env: {
      PATH: path,
      HOME: '/nonexistent',
      LC_ALL: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_TERMINAL_PROMPT: '0',
      GIT_NO_REPLACE_OBJECTS: '1',
      GIT_ALLOW_PROTOCOL: 'file',
      ...(options.alternates === undefined
        ? {}
        : {GIT_ALTERNATE_OBJECT_DIRECTORIES: cQuoted(options.alternates)}),
    },
    ...runOptions(options),
  })
}

function runOptions({input, signal, onStderr}: GitOptions) {
  return {
    ...(input === undefined ? {} : {input}),
    ...(signal ? {signal} : {}),
    ...(onStderr
      ? {
          onOutput: (chunk: Buffer, stream: 'stdout' | 'stderr') => {
            if (stream === 'stderr') onStderr(chunk)
          },
        }
      : {}),
  }
}

/** Standard output of a git command that has to succeed. */
export function gitOutput(what: string, result: CommandResult): string {
  if (result.code === 0) return result.stdout.toString()
  throw gitFailure(what, result)
}

export function gitFailure(what: string, result: CommandResult): CageError {
  const said = visible(result.stderr.trim().split('\n').slice(-8).join('\n'), '\n')
  return new CageError(`cannot ${what}${said ? `:\n${said}` : ` (git ended with ${result.code})`}`, {
    code: 'GIT_FAILED',
  })
}

/** One entry of a colon-separated list of paths, in git's C-style quotes. */
function cQuoted(path: string): string {
  return `"${path.replace(/["\\]/g, (character) => `\\${character}`).replaceAll('\n', '\\n')}"`
}
