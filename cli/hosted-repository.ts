import {gitHost} from '../core/layout.js'
import {CageError, ExitCode} from '../core/errors.js'
import {dispatcherRepository} from '../policy/repository-name.js'
import type {ProjectSettings} from '../policy/settings.js'
import {currentBranch} from '../tasks/git/hosted.js'
import type {ProjectContext} from './project-context.js'

/** How the dispatcher names the repository that branches go to. @param fork its address, if they go to one */
export function repositoryAtDispatcher({project, repository}: ProjectSettings, fork?: string): string {
  const upstream = fork ?? repository.upstream
  const name = dispatcherRepository(upstream, project)
  if (name !== undefined) return name
  throw new CageError(`${upstream} is not the address of a repository`, {
    code: 'UPSTREAM_ADDRESS',
    exitCode: ExitCode.usage,
  })
}

export function isHosted({repository}: Pick<ProjectSettings, 'repository'>): boolean {
  return repository.upstream === 'hosted'
}

/** What `origin` is in a task's clone. */
export function originUrl(settings: ProjectSettings): string {
  return isHosted(settings)
    ? `https://${gitHost}/${repositoryAtDispatcher(settings)}`
    : settings.repository.upstream
}

/** The branch that tasks start from: the one in cage.yaml, else the repository's own default. Errors: NO_BASE, exit 3. */
export async function baseBranch({settings, repository, runner, env}: ProjectContext): Promise<string> {
  if (settings.repository.base !== undefined) return settings.repository.base
  const local = {runner, directory: repository.directory, env}
  for (const candidate of [
    await remoteHead(local),
    await existing(local, ['main', 'master']),
    await currentBranch(local),
  ]) {
    if (candidate !== undefined) return candidate
  }
  throw new CageError('this repository has no branch to start from', {
    code: 'NO_BASE',
    exitCode: ExitCode.precondition,
    hints: ['Make a first commit, or name a branch in cage.yaml: `repository: { base: main }`.'],
  })
}

type Local = Parameters<typeof currentBranch>[0]

async function remoteHead({runner, directory, env}: Local): Promise<string | undefined> {
  const argv = ['git', 'symbolic-ref', '--quiet', '--short', 'refs/remotes/origin/HEAD'] as const
  const {code, stdout} = await runner.run({argv, cwd: directory, env})
  const branch = stdout
    .toString()
    .trim()
    .replace(/^origin\//, '')
  return code === 0 && branch !== '' && (await hasBranch({runner, directory, env}, branch))
    ? branch
    : undefined
}

async function existing(local: Local, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) if (await hasBranch(local, name)) return name
  return undefined
}

async function hasBranch({runner, directory, env}: Local, branch: string): Promise<boolean> {
  const argv = ['git', 'rev-parse', '--verify', '--quiet', `refs/heads/${branch}^{commit}`] as const
  return (await runner.run({argv, cwd: directory, env})).code === 0
}
