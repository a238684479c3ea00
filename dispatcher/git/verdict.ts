import {decideRefUpdate} from '../../policy/decide-git.js'
import type {GitGrant} from '../../policy/grant.js'
import type {ScanPool} from '../scan/pool.js'
import {zeroId, type ObjectFormat, type ReceiveRequest, type RefCommand} from '../wire/receive-request.js'
import {quoted} from '../wire/text.js'
import type {Found} from './content.js'
import {nextStep, type Problem} from './problem.js'
import type {Refs} from './repositories.js'

const MAX_EXPLAINED = 12
const HIDDEN = '(a name that looks like a secret)'

/** Texts that agents chose, made fit to show: one that contains what looks like a secret is not shown. */
export class Names {
  readonly #hidden = new Set<string>()

  private constructor(hidden: Iterable<string>) {
    this.#hidden = new Set(hidden)
  }

  /** @throws ScanFailed */
  static async check(scan: ScanPool, texts: readonly string[]): Promise<Names> {
    const distinct = [...new Set(texts)]
    const findings = distinct.length === 0 ? [] : await scan.scan(distinct.map((text) => Buffer.from(text)))
    return new Names(distinct.filter((_, index) => (findings[index]?.length ?? 1) > 0))
  }

  hides(text: string): boolean {
    return this.#hidden.has(text)
  }

  show(text: string): string {
    return this.hides(text) ? HIDDEN : quoted(text)
  }

  /** For the journal: the text itself or nothing. */
  record(text: string): string {
    return this.hides(text) ? HIDDEN : text
  }
}

/** What is wrong with the commands alone, before a pack is read. */
export function judgeCommands(grant: GitGrant, request: ReceiveRequest, names: Names): Problem[] {
  if (request.refusal !== undefined) {
    return [{class: 'protocol', message: request.refusal, short: request.refusal, ruleId: 'git.syntax'}]
  }
  if (request.commands.length > grant.push.limits.refs) {
    const message = `more than ${grant.push.limits.refs} refs in one push`
    return [{class: 'ref', message, short: message, ruleId: 'limits.refs'}]
  }
  return request.commands.flatMap((command): Problem[] => {
    const {effect, ruleId, reason} = decideRefUpdate(grant, command)
    if (effect === 'deny') {
      return [
        {
          class: 'ref',
          message: `${names.show(command.ref)}: ${reason}`,
          short: reason,
          ruleId,
          ref: command.ref,
        },
      ]
    }
    // The person chose the task's branch; any other name is content.
    if (names.hides(command.ref) && !grant.push.refs.includes(command.ref)) {
      return [
        {
          class: 'secret',
          message: 'in the name of a ref',
          short: 'secret found in the ref name',
          ruleId: 'secrets',
          ref: command.ref,
        },
      ]
    }
    return []
  })
}

/** Commands whose old id is not what the repository has. */
export function judgeAge(
  commands: readonly RefCommand[],
  known: Refs,
  format: ObjectFormat,
  names: Names,
): Problem[] {
  return commands
    .filter(({ref, old}) => (known.get(ref) ?? zeroId(format)) !== old)
    .map(({ref}) => ({
      class: 'force' as const,
      message: `${names.show(ref)} has moved since you last fetched`,
      short: 'fetch first',
      ruleId: 'git.push.lease',
      ref,
    }))
}

export function judgeFastForward(
  grant: GitGrant,
  command: RefCommand,
  fastForward: boolean,
  names: Names,
): Problem[] {
  const {effect, ruleId, reason} = decideRefUpdate(grant, {...command, fastForward})
  if (effect === 'allow') return []
  return [
    {
      class: 'force',
      message: `${names.show(command.ref)}: ${reason}`,
      short: 'non-fast-forward',
      ruleId,
      ref: command.ref,
    },
  ]
}

/** Commits that say that somebody else made them. */
export function strangersIn(
  {principal, push}: GitGrant,
  people: ReadonlyMap<string, ReadonlySet<string>>,
): Problem[] {
  const {author} = push
  if (!author || principal !== 'task') return []
  const strangers = [...people].filter(([, addresses]) => [...addresses].some((one) => one !== author.email))
  return strangers.map(([commit]) => ({
    class: 'author',
    message: `commit ${commit.slice(0, 10)} is not by ${quoted(author.email)} alone`,
    short: 'commit by somebody else',
    ruleId: 'git.push.author',
  }))
}

/** Where something was found, in words; never what. */
export function describeFinding(found: Found, names: Names): string {
  const id = found.object.slice(0, 10)
  switch (found.type) {
    case 'blob':
      return `${found.rule} in ${found.path === '' ? `object ${id}` : names.show(found.path)} line ${found.line} (value not shown)`
    case 'tree':
      return `${found.rule} in a file name (value not shown)`
    case 'commit':
      return `${found.rule} in the author or message of commit ${id} (value not shown)`
    case 'tag':
      return `${found.rule} in the tagger or message of tag ${id} (value not shown)`
  }
}

export function secretProblem(found: Found, names: Names): Problem {
  return {
    class: 'secret',
    message: describeFinding(found, names),
    short: `secret found: ${found.rule}`,
    ruleId: `secrets.${found.rule}`,
  }
}

/** The lines for the person, at most 20: what, what to do next, and under which name the journal has it. */
export function explain(problems: readonly Problem[], branch: string, request: string): string[] {
  const lines = [...new Set(problems.map((problem) => `[${problem.class}] ${problem.message}`))]
  const shown = lines.slice(0, MAX_EXPLAINED)
  if (lines.length > shown.length) shown.push(`... and ${lines.length - shown.length} more`)
  const classes = [...new Set(problems.map((problem) => problem.class))]
  const steps = [...new Set(classes.map((name) => nextStep(name, branch)))].slice(0, 4)
  return [...shown, ...steps.map((step) => `next: ${step}`), `request ${request}`]
}

/** Why one ref was refused: its own reason, else that of the whole push. */
export function reasonFor(ref: string, problems: readonly Problem[]): string {
  const own = problems.find((problem) => problem.ref === ref)
  const general = problems.find((problem) => problem.ref === undefined)
  return (own ?? general)?.short ?? 'another ref of this push was refused'
}
