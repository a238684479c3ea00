import {ProjectCommand} from '../project-command.js'
import {taskArgument} from '../task-arguments.js'
import {asTransportError} from '../transport-errors.js'

export default class Attach extends ProjectCommand<typeof Attach> {
  static override summary = "Show the agent's terminal; detaching leaves it running"
  static override description = [
    'Detach with C-b d (tmux). When nothing answers any more, three times Ctrl-] leaves as well.',
    'Whatever the far end writes passes a filter: text, colours, cursor, mouse, title; no clipboard, no links, no questions to the terminal.',
  ].join('\n')
  static override args = {task: taskArgument}
  static override enableJsonFlag = false

  public async run(): Promise<void> {
    const project = await this.openProject()
    const [{taskContext}, {findStored}, {attachToTask}] = await Promise.all([
      import('../task-context.js'),
      import('../../tasks/store.js'),
      import('../terminal/attach.js'),
    ])
    const context = await taskContext(project)
    const stored = await findStored(context, this.args.task)
    const told = await attachToTask(context, stored, {input: process.stdin, output: process.stdout})
    if (!this.flags.quiet) this.logToStderr(told)
  }

  protected override catch(error: Error): Promise<unknown> {
    return super.catch(asTransportError(error))
  }
}
