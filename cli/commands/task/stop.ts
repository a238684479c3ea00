import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'
import type {Task} from '../../../tasks/task.js'

export default class TaskStop extends ProjectCommand<typeof TaskStop> {
  static override summary = 'End the pod of a task; its volume stays'
  static override args = {task: taskArgument}

  public async run(): Promise<{task: Task}> {
    const project = await this.openProject()
    const [{taskContext}, {stopTask}, {auditKeeper}, {findStored}, {showTask}] = await Promise.all([
      import('../../task-context.js'),
      import('../../../tasks/stop-start.js'),
      import('../../../tasks/audit/keep.js'),
      import('../../../tasks/store.js'),
      import('../../../tasks/list.js'),
    ])
    const context = await taskContext(project)
    const stored = await findStored(context, this.args.task)
    // Nothing is lost: the ledger stays on the task's volume.
    const tell = (task: string, why: string) =>
      context.reporter.info(`The audit of task ${task} was not copied: ${why}`)
    await stopTask(context, stored, auditKeeper(context, project.files.audit, tell))
    this.log(`Task ${stored.name} is stopped; \`cage task start ${stored.name}\` goes on.`)
    return {task: await showTask(context, stored.name)}
  }
}
