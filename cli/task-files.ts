import {lstat, realpath} from 'node:fs/promises'
import {isAbsolute, join, relative, sep} from 'node:path'
import {CageError, ExitCode} from '../core/errors.js'
import {runOk} from '../core/process.js'
import type {Runner} from '../core/runner.js'

/** A ConfigMap holds at most 1 MiB with everything else that stands in it. */
const MAX_BYTES = 700 * 1024

/**
 * The untracked files of `task.files` as a tar, with the names they have in the repository; undefined when there are none.
 * Errors: TASK_FILES, exit 2, for what is missing, no regular file, outside of the repository or too much.
 */
export async function taskFiles(
  runner: Runner,
  repository: string,
  files: readonly string[],
): Promise<Buffer | undefined> {
  if (files.length === 0) return undefined
  const root = await realpath(repository)
  for (const file of files) {
    const kind = await lstat(join(root, file)).catch(() => undefined)
    if (kind === undefined) throw unusable(file, 'is not there')
    if (!kind.isFile()) throw unusable(file, 'is no regular file')
    const inner = relative(root, await realpath(join(root, file)))
    if (isAbsolute(inner) || inner.split(sep)[0] === '..')
      throw unusable(file, 'lies outside of the repository')
  }
  const argv = ['tar', '-c', '-C', root, '--owner=0', '--group=0', '--numeric-owner', '--', ...files] as const
  const tar = await runOk(runner, {argv})
  if (tar.length <= MAX_BYTES) return tar
  throw unusable(files.join(', '), `has ${tar.length} bytes; ${MAX_BYTES} is the most`)
}

function unusable(file: string, problem: string): CageError {
  return new CageError(`cage.yaml task.files: ${file} ${problem}`, {
    code: 'TASK_FILES',
    exitCode: ExitCode.usage,
    hints: ['Name untracked files by their path in the repository; tracked ones are in the clone anyway.'],
  })
}
