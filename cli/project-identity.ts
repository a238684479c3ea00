import {createHash} from 'node:crypto'
import {realpath} from 'node:fs/promises'
import {basename, resolve} from 'node:path'
import {CageError, ExitCode} from '../core/errors.js'
import type {Runner} from '../core/runner.js'

export interface Repository {
  /** top-level folder of the work tree */
  directory: string
  /** the folder that all work trees of the repository share */
  commonDirectory: string
}

/** The git repository around a folder. Errors: NO_REPOSITORY, exit 3. */
export async function findRepository(runner: Runner, folder: string): Promise<Repository> {
  const argv = ['git', 'rev-parse', '--path-format=absolute', '--show-toplevel', '--git-common-dir'] as const
  const cwd = resolve(folder)
  const result = await runner.run({argv, cwd}).catch((cause: unknown) => {
    // spawn says ENOENT for a missing folder as well as for a missing program
    throw new CageError(`cannot run git in ${cwd}`, {
      code: 'NO_REPOSITORY',
      exitCode: ExitCode.precondition,
      hints: ['Check that the folder exists and that git is installed.'],
      cause,
    })
  })
  const [directory, common] = result.stdout.toString().split('\n')
  if (result.code === 0 && directory && common) return {directory, commonDirectory: await realpath(common)}
  throw new CageError(`${cwd} is not inside the work tree of a git repository`, {
    code: 'NO_REPOSITORY',
    exitCode: ExitCode.precondition,
    hints: [
      'Change to your repository, or name it with `-C <dir>`.',
      'A new one: `git init`, and one commit.',
    ],
  })
}

/**
 * `<project>-<8 hex>`: the same for all work trees of a repository, different for two folders of one name, and for two
 * people where a cluster is shared. `person` is absent where the machine is the project's own.
 */
export function projectId(project: string, {commonDirectory}: Repository, person?: string): string {
  const hash = createHash('sha256').update(commonDirectory)
  if (person !== undefined) hash.update(`\0${person}`)
  return `${project}-${hash.digest('hex').slice(0, 8)}`
}

/** The folder's name as a project name; undefined when nothing of it can stand in one. */
export function projectNameOf({directory}: Repository): string | undefined {
  const name = basename(directory)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 32)
    .replace(/^-+|-+$/g, '')
  return name === '' ? undefined : name
}
