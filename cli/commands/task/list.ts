import {ProjectCommand} from '../../project-command.js'
import {taskTable} from '../../ui/task-lines.js'
import type {Task} from '../../../tasks/task.js'

export default class TaskList extends ProjectCommand<typeof TaskList> {
  static override summary = 'List the tasks of this project'

  public async run(): Promise<Task[]> {
    const project = await this.openProject()
    const [{taskContext}, {listTasks}] = await Promise.all([
      import('../../task-context.js'),
      import('../../../tasks/list.js'),
    ])
    const tasks = await listTasks(await taskContext(project))
    this.log(
      tasks.length > 0 ? taskTable(tasks) : 'There is no task yet: start one with `cage task new <branch>`.',
    )
    return tasks
  }
}
