import {ProjectCommand} from '../project-command.js'

export default class Sync extends ProjectCommand<typeof Sync> {
  static override summary = 'Bring the base branch of the hosted repository up to date with yours'
  static override description =
    'Pushes the branch and its history as `git push cage <base>` would; never forces.'

  public async run(): Promise<{branch: string; from: string | null; to: string}> {
    const project = await this.openProject()
    const [{hostedFarEnd}, {baseBranch}, {syncBase}, {messageFilter}] = await Promise.all([
      import('../task-context.js'),
      import('../hosted-repository.js'),
      import('../../tasks/git/hosted.js'),
      import('../remote-helper/protocol.js'),
    ])
    const {runner, repository, env, signal, reporter} = project
    const branch = await baseBranch(project)
    reporter.begin(`sync ${branch}`)
    const local = {runner, directory: repository.directory, env}
    const result = await syncBase(local, await hostedFarEnd(project), branch, {
      signal,
      onMessage: messageFilter(process.stderr),
    })
    reporter.done()
    this.log(
      result.from === result.to
        ? `${branch} is up to date at ${result.to.slice(0, 10)}.`
        : `${branch}: ${result.from?.slice(0, 10) ?? 'new'} → ${result.to.slice(0, 10)}`,
    )
    return result
  }
}
