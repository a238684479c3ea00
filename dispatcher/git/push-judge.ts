import {zeroId, type ReceiveRequest} from '../wire/receive-request.js'
import {isFastForward} from './fast-forward.js'
import {judgeFindings, type FindingsVerdict} from './findings.js'
import {inspect, type Inspection} from './inspect.js'
import {PushRefused, type Problem} from './problem.js'
import type {PushProgress} from './push-record.js'
import {inspectionRules, type PushEngineParts, type PushSession} from './push-session.js'
import type {Known} from './mirrors.js'
import type {Refs} from './repositories.js'
import {judgeAge, judgeFastForward, Names, strangersIn} from './verdict.js'

/** What is to be said about a push whose objects lie in a quarantine. */
export interface Judgement {
  /** the refs against which it was judged, and which its pack may take for granted */
  known: Refs
  problems: readonly Problem[]
  findings: FindingsVerdict
  /** paths of findings, fit to show */
  names: Names
  unscanned: number
  /** pass, and are said */
  strangers: readonly Problem[]
}

export interface PushJudgeOptions {
  parts: PushEngineParts
  session: PushSession
  request: ReceiveRequest
  /** of the refs */
  names: Names
  progress: PushProgress
  signal: AbortSignal
  onObjects: (count: number) => void
}

const NO_FINDINGS: FindingsVerdict = {denied: [], held: [], warned: []}

/** Judges the objects of one push; says and changes nothing. */
export class PushJudge {
  readonly #options: PushJudgeOptions

  constructor(options: PushJudgeOptions) {
    this.#options = options
  }

  /**
   * A copy of an upstream may be behind it. Then more counts as new than is, so a push that passes all the same is right;
   * before anything is held against one, the copy is brought up to date.
   * @throws PushRefused when it cannot be judged at all
   */
  async judge(quarantine: string | undefined): Promise<Judgement> {
    const {parts, session, request, names} = this.#options
    const {repository} = session
    const {behind, ...known} = await parts.refs.known(repository)
    const isStale = judgeAge(request.commands, known.refs, repository.format, names).length > 0
    if (!behind && !isStale) return this.#examine(known, quarantine)
    if (!isStale) {
      try {
        const judgement = await this.#examine(known, quarantine)
        if (isClean(judgement, this.#options.progress.inspection)) return judgement
      } catch (error) {
        if (!(error instanceof PushRefused)) throw error
      }
    }
    return this.#examine(await parts.refs.refresh(repository), quarantine)
  }

  async #examine({refs: known, origin}: Known, quarantine: string | undefined): Promise<Judgement> {
    const {parts, session, request, names, progress, signal, onObjects} = this.#options
    const {grant, repository} = session
    const zero = zeroId(repository.format)
    const stale = judgeAge(request.commands, known, repository.format, names)
    if (stale.length > 0) throw new PushRefused(stale)
    if (quarantine === undefined)
      return {known, problems: [], findings: NO_FINDINGS, names, unscanned: 0, strangers: []}
    const tips = request.commands.filter((command) => command.new !== zero)
    const place = {directory: repository.directory, quarantine, signal}
    const inspection = await inspect({
      git: parts.git,
      scan: parts.scan,
      repository,
      quarantine,
      tips: tips.map(({ref, new: object}) => ({ref, object})),
      known: new Map([...known, ...origin]),
      rules: inspectionRules(grant),
      signal,
      onProgress: onObjects,
    })
    const {found, flagged, problems, unscanned, parents, people} = inspection
    const moved: Problem[] = []
    for (const command of tips.filter(({old}) => old !== zero)) {
      // A new commit right behind the old one is what nearly every push is.
      const follows =
        (tips.length === 1 && parents.has(command.old)) || (await isFastForward(parts.git, place, command))
      moved.push(...judgeFastForward(grant, command, follows, names))
    }
    const [flags, paths] = await Promise.all([
      Names.check(parts.scan, flagged),
      Names.check(
        parts.scan,
        found.map(({path}) => path),
      ),
    ])
    progress.inspection = {...inspection, flagged: flagged.map((path) => flags.record(path))}
    const strangers = strangersIn(grant, people)
    const areDenied = grant.push.author?.action === 'deny'
    return {
      known,
      problems: [...problems, ...moved, ...(areDenied ? strangers : [])],
      strangers: areDenied ? [] : strangers,
      findings: await judgeFindings(grant, inspection, parts.held, paths),
      names: paths,
      unscanned,
    }
  }
}

/** Nothing is wrong, and nothing would be said. */
function isClean({problems, findings, strangers}: Judgement, inspection: Inspection | undefined): boolean {
  const {denied, held, warned} = findings
  return [problems, denied, held, warned, strangers, inspection?.flagged ?? []].every(
    (list) => list.length === 0,
  )
}
