import {Flags} from '@oclif/core'
import {parseDuration} from '../../durations.js'
import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'
import type {Task} from '../../../tasks/task.js'

export default class TaskStart extends ProjectCommand<typeof TaskStart> {
  static override summary = 'Start a stopped task again, or complete one whose start was interrupted'
  static override description =
    'The pod is built again under the policy and with the credentials of now. An agent that had ended is not started again.'
  static override args = {task: taskArgument}
  static override flags = {
    timeout: Flags.string({
      description: 'how long the start may take',
      helpValue: '<duration>',
      default: '10m',
    }),
  }

  public async run(): Promise<{task: Task}> {
    const deadlineMs = parseDuration('--timeout', this.flags.timeout)
    const project = await this.openProject()
    const [
      {taskContext, dispatcherControl},
      {taskProject},
      {startTask},
      {findStored},
      {showTask},
      {waitUntilRunning},
    ] = await Promise.all([
      import('../../task-context.js'),
      import('../../task-project.js'),
      import('../../../tasks/stop-start.js'),
      import('../../../tasks/store.js'),
      import('../../../tasks/list.js'),
      import('../../../tasks/wait.js'),
    ])
    const [context, dispatcher] = await Promise.all([taskContext(project), dispatcherControl(project)])
    const stored = await findStored(context, this.args.task)
    const {name} = stored
    const started = await startTask(context, taskProject(project), dispatcher, stored)
    context.reporter.begin(`start the agent ${stored.record.agent}`)
    await waitUntilRunning(context, name, deadlineMs)
    context.reporter.done()
    this.log(
      started ? `Task ${name} runs again: \`cage attach ${name}\`.` : `Task ${name} is running already.`,
    )
    return {task: await showTask(context, name)}
  }
}
