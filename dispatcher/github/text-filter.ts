import {ApiDenied} from './denied.js'

/** Orders to bots that a comment could carry: they act with rights that the task does not have. */
const orders = [
  /^[\s>*_`~-]*\/(?:merge|approve|lgtm|deploy|ok-to-test|override|retest|rerun|restart|test|rebase|close|reopen|label|assign|unassign|hold|unhold|cherry-?pick|backport|release|run|trigger|azp|gcbrun|promote|rollback|plan|apply|unlock)(?![\w/.-])/imu,
  /^[\s>*_`~-]*[.!](?:deploy|noop|merge|approve|unlock|rollback)(?=\s*$|[^\S\n]+[a-z])/imu,
  /^[\s>*_`~-]*(?:atlantis|digger)[^\S\n]+(?:apply|plan|unlock|approve_policies|import)(?![\w/.-])/imu,
  /(?<![\w.])@(?:dependabot|renovate(?:bot)?|mergify(?:io)?|bors|homu|copilot|claude|codex|cursor|gemini-cli)(?:\[bot\])?(?![\w/-])/iu,
  /\bbors(?:-ng)?[\s:]+(?:r|d|p|try|merge|retry|delegate)\s*[+=-]/iu,
  /\bbors(?:-ng)?[\s:]+(?:merge|try|retry)\b/iu,
]

const INVISIBLE = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu

/** Refuses a text that gives orders to a bot. Comments of HTML count too: bots read the source. */
export function requireNoOrders(field: string, text: string): void {
  const plain = text.normalize('NFKC').replace(INVISIBLE, '')
  if (orders.some((order) => order.test(plain)))
    throw new ApiDenied(
      'github.text',
      `the ${field} was not sent: it gives an order to a bot (a line like "/merge" or a mention like "@dependabot"); say it in other words`,
    )
}
