import {HeldPushCommand} from '../../held-push-command.js'
import type {HeldDecision} from '../../held-push.js'

export default class TaskReject extends HeldPushCommand {
  static override summary = 'Refuse a held push'
  static override description =
    'The agent is told that a person said no when it pushes the same values again.'

  public async run(): Promise<HeldDecision & {rejected: true}> {
    return {...(await this.decide(false)), rejected: true}
  }
}
