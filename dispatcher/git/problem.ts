import {ScanFailed, type ScanPool} from '../scan/pool.js'

/** The class of a refusal, shown in brackets and written to the journal. */
export type ProblemClass =
  | 'ref'
  | 'force'
  | 'path'
  | 'author'
  | 'secret'
  | 'held'
  | 'size'
  | 'pack'
  | 'connectivity'
  | 'protocol'
  | 'time'
  | 'disk'
  | 'share'
  | 'journal'
  | 'upstream'
  | 'scan'
  | 'internal'

/** Why a push is refused. Texts hold no value that was found and no name that was not checked for one. */
export interface Problem {
  class: ProblemClass
  /** what and where, one line */
  message: string
  /** below 100 bytes, stable wording: what stands behind the ref in the client's report */
  short: string
  /** the rule that decided, for the journal */
  ruleId: string
  /** when it concerns one ref only */
  ref?: string
}

/** A refusal from deep inside the work; stops it. */
export class PushRefused extends Error {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[], cause?: unknown) {
    super(problems[0]?.message ?? 'refused', {cause})
    this.name = 'PushRefused'
    this.problems = problems
  }
}

export const fullVolume: Problem = {
  class: 'disk',
  message: 'the dispatcher volume is full',
  short: 'dispatcher volume is full',
  ruleId: 'disk',
}

export const tookTooLong: Problem = {
  class: 'time',
  message: 'the push took longer than it may',
  short: 'took too long',
  ruleId: 'limits.seconds',
}

export const missingObjects: Problem = {
  class: 'connectivity',
  message: 'objects are missing: the pack does not contain everything that the new commits need',
  short: 'missing necessary objects',
  ruleId: 'git.connectivity',
}

/** Every failure as a refusal: what is not understood denies. @param gone fires when the client has left */
export function problemsOf(error: unknown, gone: AbortSignal): readonly Problem[] {
  if (gone.aborted)
    return [{class: 'protocol', message: 'the client is gone', short: 'client is gone', ruleId: 'client'}]
  if (error instanceof PushRefused) return error.problems
  if (error instanceof ScanFailed) {
    return [
      {
        class: 'scan',
        message: `not accepted: ${error.message}`,
        short: 'content could not be scanned',
        ruleId: 'secrets.onError',
      },
    ]
  }
  const code = (error as {code?: unknown}).code
  if (typeof code === 'string' && code.startsWith('UPSTREAM_')) {
    const {message} = error as Error
    return [{class: 'upstream', message, short: 'upstream cannot take it now', ruleId: 'upstream'}]
  }
  if (code === 'JOURNAL_FAILED') {
    return [
      {
        class: 'journal',
        message: 'the decision cannot be recorded',
        short: 'dispatcher cannot record',
        ruleId: 'journal',
      },
    ]
  }
  if (code === 'DISK_FULL' || code === 'ENOSPC') return [fullVolume]
  return [
    {
      class: 'internal',
      message: 'the dispatcher failed, nothing was changed',
      short: 'dispatcher error',
      ruleId: 'internal',
    },
  ]
}

/** Messages name paths that an agent chose: one that looks like a secret is neither shown nor recorded. */
export async function withoutSecrets(
  scan: ScanPool,
  problems: readonly Problem[],
): Promise<readonly Problem[]> {
  const found = await scan.scan(problems.map(({message}) => Buffer.from(message))).catch(() => [])
  return problems.map((problem, index) =>
    found[index]?.length === 0 ? problem : {...problem, message: problem.short},
  )
}

/** What the person or the agent can do next. */
export function nextStep(problem: ProblemClass, branch: string): string {
  switch (problem) {
    case 'ref':
      return `push only the branch of this task: git push origin HEAD:${branch}`
    case 'force':
      return 'run git fetch, then merge or rebase, then push again'
    case 'path':
      return 'take the change out of every commit you push; a person has to make it'
    case 'author':
      return 'make them again as this task: git rebase -r <base> --exec "git commit --amend --no-edit --reset-author"'
    case 'secret':
      return 'take it out of every commit you push (git rebase -i or git commit --amend); a later commit that removes it is not enough'
    case 'held':
      return 'ask a person for `cage task approve`, then push the same again; or take it out of every commit you push'
    case 'size':
      return 'leave large files out or push in smaller parts'
    case 'pack':
    case 'connectivity':
      return 'run git fetch and git fsck in your clone, then push again'
    case 'protocol':
      return 'push with an unmodified git'
    case 'time':
    case 'scan':
      return 'push fewer commits or smaller files at once'
    case 'disk':
      return 'a person has to give the dispatcher more space'
    case 'share':
      return 'this task can store no more; a person has to look at what it pushes, or start another one'
    case 'journal':
      return 'a person has to look at the dispatcher: nothing is accepted while it cannot record'
    case 'upstream':
      return 'try again later; when it stays, a person has to look at the upstream'
    case 'internal':
      return 'try again; the cause is in the log of the dispatcher'
  }
}
