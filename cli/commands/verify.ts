import {ExitCode} from '../../core/errors.js'
import {ProjectCommand} from '../project-command.js'
import {verifyLines} from '../ui/verify-lines.js'
import type {VerifyReport} from '../../tasks/verify/verify.js'

export default class Verify extends ProjectCommand<typeof Verify> {
  static override summary = 'Attack this installation and show the proof; exit code 1 when anything leaks'
  static override description =
    'Makes a throwaway task, puts canaries outside of it, and tries from inside what is known against sandboxes, the way to the repository included. Judged by what reaches a canary or the repository; each route has a control that must work. Also says which layers are enforced here, by trying them. Takes about half a minute.'

  public async run(): Promise<VerifyReport> {
    const project = await this.openProject()
    const [{dispatcherControl, taskContext}, {taskProject}, {openSurroundings}, {verify}, {auditKeeper}] =
      await Promise.all([
        import('../task-context.js'),
        import('../task-project.js'),
        import('../verify-surroundings.js'),
        import('../../tasks/verify/verify.js'),
        import('../../tasks/audit/keep.js'),
      ])
    const [context, dispatcher] = await Promise.all([taskContext(project), dispatcherControl(project)])
    const surroundings = await openSurroundings(project)
    const tellLoss = (task: string, why: string) =>
      context.reporter.info(`The audit of the throwaway task ${task} is lost: ${why}`)
    const keeper = auditKeeper(context, project.files.audit, tellLoss)
    try {
      const report = await verify(context, taskProject(project), dispatcher, surroundings, keeper)
      for (const line of verifyLines(report)) this.log(line)
      if (report.failed > 0) process.exitCode = ExitCode.failed
      return report
    } finally {
      await surroundings.close()
    }
  }
}
