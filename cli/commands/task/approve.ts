import {Flags} from '@oclif/core'
import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'
import {decideHeldPush, type HeldDecision} from '../../held-push.js'

export default class TaskApprove extends ProjectCommand<typeof TaskApprove> {
  static override summary = 'Let a held push pass: the agent pushes again'
  static override description =
    'Shows what was found in the push that waits and asks. What is approved are these values, for this task; everything else is judged as before.'
  static override args = {task: taskArgument}
  static override flags = {
    request: Flags.string({
      description: 'the request that was looked at: no question, and no other push than this one',
      helpValue: '<id>',
    }),
  }

  public async run(): Promise<HeldDecision & {approved: true}> {
    const project = await this.openProject()
    const decision = await decideHeldPush(project, {
      task: this.args.task,
      request: this.flags.request,
      approve: true,
      mayAsk: process.stdin.isTTY && !this.flags['no-input'],
      say: (text) => this.log(text),
    })
    return {...decision, approved: true}
  }
}
