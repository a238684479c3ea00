import {Flags} from '@oclif/core'
import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'
import {decideHeldPush, type HeldDecision} from '../../held-push.js'

export default class TaskReject extends ProjectCommand<typeof TaskReject> {
  static override summary = 'Refuse a held push'
  static override description =
    'The agent is told that a person said no when it pushes the same values again.'
  static override args = {task: taskArgument}
  static override flags = {
    request: Flags.string({
      description: 'the request that was looked at: no question, and no other push than this one',
      helpValue: '<id>',
    }),
  }

  public async run(): Promise<HeldDecision & {rejected: true}> {
    const project = await this.openProject()
    const decision = await decideHeldPush(project, {
      task: this.args.task,
      request: this.flags.request,
      approve: false,
      mayAsk: process.stdin.isTTY && !this.flags['no-input'],
      say: (text) => this.log(text),
    })
    return {...decision, rejected: true}
  }
}
