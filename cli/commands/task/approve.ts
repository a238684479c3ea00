import {HeldPushCommand} from '../../held-push-command.js'
import type {HeldDecision} from '../../held-push.js'

export default class TaskApprove extends HeldPushCommand {
  static override summary = 'Let a held push pass: the agent pushes again'
  static override description =
    'Shows what was found in the push that waits and asks. What is approved are these values, for this task; everything else is judged as before.'

  public async run(): Promise<HeldDecision & {approved: true}> {
    return {...(await this.decide(true)), approved: true}
  }
}
