import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'
import {taskDetails} from '../../ui/task-lines.js'
import type {Task} from '../../../tasks/task.js'

export default class TaskShow extends ProjectCommand<typeof TaskShow> {
  static override summary = 'Show the state of one task'
  static override args = {task: taskArgument}

  public async run(): Promise<Task> {
    const project = await this.openProject()
    const [{taskContext}, {showTask}] = await Promise.all([
      import('../../task-context.js'),
      import('../../../tasks/list.js'),
    ])
    const task = await showTask(await taskContext(project), this.args.task)
    this.log(taskDetails(task))
    return task
  }
}
