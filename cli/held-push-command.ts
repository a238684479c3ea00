import {Flags} from '@oclif/core'
import {decideHeldPush, type HeldDecision} from './held-push.js'
import {ProjectCommand} from './project-command.js'
import {taskArgument} from './task-arguments.js'

/** What `task approve` and `task reject` have in common. */
export abstract class HeldPushCommand extends ProjectCommand<typeof HeldPushCommand> {
  static override args = {task: taskArgument}
  static override flags = {
    request: Flags.string({
      description: 'the request that was looked at: no question, and no other push than this one',
      helpValue: '<id>',
    }),
  }

  protected async decide(approve: boolean): Promise<HeldDecision> {
    return decideHeldPush(await this.openProject(), {
      task: this.args.task,
      request: this.flags.request,
      approve,
      mayAsk: process.stdin.isTTY && !this.flags['no-input'],
      say: (text) => this.log(text),
    })
  }
}
