import {CageError, ExitCode} from '../../core/errors.js'
import type {PushedBranch} from '../../tasks/git/hosted.js'
import {ProjectCommand} from '../project-command.js'
import type {ProjectContext} from '../project-context.js'

/** the first look at a large upstream copies its history */
const FIRST_LOOK_MS = 15 * 60_000

export default class Sync extends ProjectCommand<typeof Sync> {
  static override summary = 'Bring the base branch that tasks start from up to date'
  static override description =
    "Hosted: pushes your branch and its history as `git push cage <base>` would; never forces. With another upstream: looks there what is new, so that the dispatcher's copy follows."

  public async run(): Promise<{branch: string; from: string | null; to: string}> {
    const project = await this.openProject()
    const {isHosted} = await import('../hosted-repository.js')
    const result = await (isHosted(project.settings) ? this.push(project) : this.follow(project))
    this.log(
      result.from === result.to
        ? `${result.branch} is up to date at ${result.to.slice(0, 10)}.`
        : `${result.branch}: ${result.from?.slice(0, 10) ?? 'new'} → ${result.to.slice(0, 10)}`,
    )
    return result
  }

  private async push(project: ProjectContext): Promise<PushedBranch> {
    const [{dispatcherRepositoryOf}, {baseBranch}, {syncBase}, {messageFilter}] = await Promise.all([
      import('../task-context.js'),
      import('../hosted-repository.js'),
      import('../../tasks/git/hosted.js'),
      import('../remote-helper/protocol.js'),
    ])
    const {runner, repository, env, signal, reporter} = project
    const branch = await baseBranch(project)
    reporter.begin(`sync ${branch}`)
    const local = {runner, directory: repository.directory, env}
    const result = await syncBase(local, await dispatcherRepositoryOf(project), branch, {
      signal,
      onMessage: messageFilter(process.stderr),
    })
    reporter.done()
    return result
  }

  private async follow(project: ProjectContext): Promise<PushedBranch> {
    const [{dispatcherControl, forkOf}, {repositoryAtDispatcher}] = await Promise.all([
      import('../task-context.js'),
      import('../hosted-repository.js'),
    ])
    const {settings, reporter} = project
    reporter.begin(`look at ${settings.repository.upstream}`)
    const control = await dispatcherControl(project)
    const {bases, defaultBranch, before} = await control.refs(
      repositoryAtDispatcher(settings, await forkOf(project, control)),
      FIRST_LOOK_MS,
    )
    const branch = settings.repository.base ?? defaultBranch
    const to = bases.get(branch)
    if (to === undefined)
      throw new CageError(`the upstream has no branch ${JSON.stringify(branch)}`, {
        code: 'BASE_NOT_FOUND',
        exitCode: ExitCode.usage,
      })
    reporter.done()
    return {branch, from: before.get(branch) ?? null, to}
  }
}
