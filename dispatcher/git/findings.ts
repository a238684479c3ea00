import type {GitGrant} from '../../policy/grant.js'
import type {Found} from './content.js'
import type {HeldPushes} from './held.js'
import type {Inspection} from './inspect.js'
import type {Problem} from './problem.js'
import {describeFinding, secretProblem, type Names} from './verdict.js'

/** What the findings of a push come to. */
export interface FindingsVerdict {
  /** nobody can let these through */
  denied: Problem[]
  /** wait for a person */
  held: Found[]
  /** pass, and are said */
  warned: Found[]
}

/**
 * What the grant and a person say about findings. A value that cage handed out is none that anybody can let through; what
 * is one by its name alone only warns.
 */
export async function judgeFindings(
  {principal, task, secrets: {onFinding, allow = []}}: GitGrant,
  {found, unkept}: Pick<Inspection, 'found' | 'unkept'>,
  held: HeldPushes,
  names: Names,
): Promise<FindingsVerdict> {
  const verdict: FindingsVerdict = {denied: [], held: [], warned: []}
  const waits = onFinding === 'hold' && principal === 'task'
  const said = waits ? await held.verdicts(task, found) : []
  found.forEach((one, index) => {
    const handedOut = one.kind === 'exact' && principal === 'task'
    if (handedOut) verdict.denied.push(secretProblem(one, names))
    else if (allow.includes(one.sha256)) return
    else if (onFinding === 'warn' || one.kind === 'generic') verdict.warned.push(one)
    else if (said[index] === 'approved') return
    else if (said[index] === 'open') verdict.held.push(one)
    else verdict.denied.push(said[index] === 'rejected' ? rejected(one, names) : secretProblem(one, names))
  })
  // Those that were kept may all be allowed; the others would pass behind them.
  if (unkept > 0 && onFinding !== 'warn') verdict.denied.push(tooMany(found.length + unkept))
  return verdict
}

function tooMany(count: number): Problem {
  return {
    class: 'secret',
    message: `${count} findings are more than can be judged in one push`,
    short: 'too many secrets',
    ruleId: 'secrets.default',
  }
}

export function heldProblem(found: Found, names: Names): Problem {
  return {
    class: 'held',
    message: describeFinding(found, names),
    short: 'held: a person has to approve it, then push again',
    ruleId: `secrets.${found.rule}`,
  }
}

function rejected(found: Found, names: Names): Problem {
  return {
    ...secretProblem(found, names),
    message: `${describeFinding(found, names)}: a person has said no`,
    short: 'a person has said no',
  }
}
