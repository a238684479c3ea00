import {Flags} from '@oclif/core'
import {CageError, ExitCode} from '../../../core/errors.js'
import {confirm} from '../../ui/confirm.js'
import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'
import type {UnsavedWork} from '../../../tasks/task.js'

export default class TaskRm extends ProjectCommand<typeof TaskRm> {
  static override summary = 'Remove a task with its volume; the branch upstream and the audit stay'
  static override description =
    'Asks when there is work that is not upstream, or when nobody can tell. Also cleans up what an interrupted command left.'
  static override args = {task: taskArgument}
  static override flags = {
    force: Flags.boolean({char: 'f', description: 'do not ask, whatever is lost, the audit too'}),
  }

  public async run(): Promise<{task: {name: string; branch: string}; removed: true}> {
    const project = await this.openProject()
    const [{taskContext, dispatcherControl}, {removeTask}, {auditKeeper, refuseLoss}, {findStored}] =
      await Promise.all([
        import('../../task-context.js'),
        import('../../../tasks/remove.js'),
        import('../../../tasks/audit/keep.js'),
        import('../../../tasks/store.js'),
      ])
    const [context, dispatcher] = await Promise.all([taskContext(project), dispatcherControl(project)])
    const stored = await findStored(context, this.args.task)
    const {name, record} = stored
    if (!this.flags.force) {
      const {unsavedWork} = await import('../../../tasks/unsaved-work.js')
      await this.ask(name, await unsavedWork(context, stored))
    }
    const tellLoss = (task: string, why: string) =>
      context.reporter.info(`The audit of task ${task} is lost from its last copy on: ${why}`)
    const onLoss = this.flags.force ? tellLoss : refuseLoss
    await removeTask(context, dispatcher, stored, auditKeeper(context, project.files.audit, onLoss))
    this.log(
      `Task ${name} is removed. Its branch ${record.branch} is upstream if it was pushed; \`cage audit --task ${name}\` still tells what it did.`,
    )
    return {task: {name, branch: record.branch}, removed: true}
  }

  private async ask(name: string, work: UnsavedWork | undefined): Promise<void> {
    if (work?.commits === 0 && work.files === 0) return
    const lost = work
      ? `${counted(work.commits, 'commit')} and ${counted(work.files, 'changed file')} of task ${name} are not upstream`
      : `nobody can tell now whether task ${name} has work that is not upstream`
    const asks = process.stdin.isTTY && !this.flags['no-input']
    if (asks && (await confirm(`${lost}. Remove it all the same?`))) return
    throw new CageError(`${lost}: not removed`, {
      code: 'UNSAVED_WORK',
      exitCode: ExitCode.usage,
      hints: [
        `Look at it with \`cage attach ${name}\`, or push it with \`cage task exec ${name} -- git push\`.`,
        `\`cage task rm ${name} --force\` removes it all the same.`,
      ],
    })
  }
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
