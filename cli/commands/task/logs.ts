import {Flags} from '@oclif/core'
import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'

export default class TaskLogs extends ProjectCommand<typeof TaskLogs> {
  static override summary = "Print what a task's agent or sidecar said"
  static override description =
    "The agent's output is that of its terminal, as plain lines. On a terminal, control and other invisible characters are shown escaped."
  static override args = {task: taskArgument}
  static override flags = {
    container: Flags.option({
      options: ['agent', 'sidecar', 'fence', 'probe', 'clone'] as const,
      default: 'agent' as const,
      description: 'whose output',
    })(),
    follow: Flags.boolean({char: 'f', description: 'go on until it ends'}),
  }
  static override enableJsonFlag = false

  public async run(): Promise<void> {
    this.endsByInterrupt = this.flags.follow
    const project = await this.openProject()
    const [{taskContext}, {findStored}, {copyTaskLog}, {printable}] = await Promise.all([
      import('../../task-context.js'),
      import('../../../tasks/store.js'),
      import('../../../tasks/logs.js'),
      import('../../terminal/printable.js'),
    ])
    const context = await taskContext(project)
    const stored = await findStored(context, this.args.task)
    const out = printable(process.stdout)
    await copyTaskLog(context, stored, {container: this.flags.container, follow: this.flags.follow}, out)
  }
}
