import {settledOrUnknown} from '../upstream/settled.js'
import type {RefOutcome} from '../upstream/upstream.js'
import {readReceiveRequest, zeroId, type ReceiveRequest} from '../wire/receive-request.js'
import {PushAnswer} from '../wire/report.js'
import {isNearlyFull} from '../free-space.js'
import {heldProblem} from './findings.js'
import {fullVolume, problemsOf, PushRefused, withoutSecrets, type Problem} from './problem.js'
import {pushRecord, refusalRecord, taskOf, type PushProgress} from './push-record.js'
import {PushJudge, type Judgement} from './push-judge.js'
import type {PushEngineParts, PushSession} from './push-session.js'
import {Quarantine} from './quarantine.js'
import type {Refs} from './repositories.js'
import {describeFinding, explain, judgeCommands, Names, reasonFor, secretProblem} from './verdict.js'

const SMALLEST_ALLOCATION = 128 * 1024 * 1024

/**
 * Parse, decide, regenerate: the commands are judged before the pack is read, the pack is read into a quarantine, the
 * objects are judged there, and what reaches the repository is a pack and a ref update of its own.
 */
export class PushEngine {
  readonly #parts: PushEngineParts

  constructor(parts: PushEngineParts) {
    this.#parts = parts
  }

  /** @throws FramingError before anything was answered */
  async receive(session: PushSession): Promise<void> {
    const request = await readReceiveRequest(session.input, session.repository.format)
    if (request.commands.length === 0 && request.refusal === undefined) {
      // A client asks with an empty request whether it may send a large one.
      session.output.end()
      return
    }
    await new Push(this.#parts, session, request).run()
  }
}

class Push {
  readonly #parts: PushEngineParts
  readonly #session: PushSession
  readonly #request: ReceiveRequest
  readonly #answer: PushAnswer
  readonly #progress: PushProgress = {milliseconds: {}}
  readonly #signal: AbortSignal
  #intended = false

  constructor(parts: PushEngineParts, session: PushSession, request: ReceiveRequest) {
    this.#parts = parts
    this.#session = session
    this.#request = request
    this.#answer = new PushAnswer(session.output, request.capabilities)
    this.#signal = AbortSignal.any([
      session.signal,
      AbortSignal.timeout(session.grant.push.limits.seconds * 1000),
    ])
  }

  async run(): Promise<void> {
    try {
      const outcomes = await this.#work()
      this.#answer.end(
        'ok',
        outcomes.map(({ref, state, reason}) =>
          state === 'done' ? {ref} : {ref, reason: reason ?? 'outcome unknown: fetch first'},
        ),
      )
    } catch (error) {
      await this.#refuse(this.#problemsOf(error))
    }
  }

  async #work(): Promise<RefOutcome[]> {
    const {grant, repository} = this.#session
    const {commands} = this.#request
    this.#progress.names = await Names.check(
      this.#parts.scan,
      commands.map(({ref}) => ref),
    )
    const early = judgeCommands(grant, this.#request, this.#progress.names)
    if (early.length > 0) throw new PushRefused(early)
    const zero = zeroId(repository.format)
    if (commands.every((command) => command.new === zero)) return this.#judgeAndStore(undefined)
    if (await isNearlyFull(this.#parts.volume)) throw new PushRefused([fullVolume])
    const quarantine = await Quarantine.create(this.#parts.quarantineRoot)
    try {
      await this.#timed('index', async () => {
        this.#progress.pack = await quarantine.index(
          this.#parts.git,
          repository,
          this.#session.input.rest(),
          {
            packBytes: grant.push.limits.packBytes,
            allocation: Math.max(SMALLEST_ALLOCATION, 4 * grant.push.limits.blobBytes),
          },
          this.#signal,
        )
      })
      this.#answer.startKeepAlive()
      const bytes = this.#progress.pack?.bytes ?? 0
      const over = this.#parts.shares.problem(grant.task, bytes, grant.push.limits.totalBytes)
      if (over) throw new PushRefused([over])
      const outcomes = await this.#judgeAndStore(quarantine)
      if (outcomes.some(({state}) => state !== 'refused')) this.#parts.shares.add(grant.task, bytes)
      return outcomes
    } finally {
      await quarantine.remove()
    }
  }

  #judgeAndStore(quarantine: Quarantine | undefined): Promise<RefOutcome[]> {
    const judge = new PushJudge({
      parts: this.#parts,
      session: this.#session,
      request: this.#request,
      names: this.#names,
      progress: this.#progress,
      signal: this.#signal,
      onObjects: (count) => this.#answer.progress(`checking ${count} objects`),
    })
    const {places} = this.#parts
    return this.#session.repository.lock.share(async () => {
      // Waiting for an upstream takes no place: it costs nothing here.
      const judgement = await places.use(() => this.#timed('inspect', () => judge.judge(quarantine?.path)))
      await this.#conclude(judgement)
      return this.#store(judgement.known, quarantine?.path ?? '')
    })
  }

  /** Says what is to be said. Only a push that is right otherwise is worth a person's look. */
  async #conclude({problems, findings, names, unscanned, strangers}: Judgement): Promise<void> {
    const {denied, held, warned} = findings
    for (const {message} of strangers.slice(0, 5)) this.#answer.say(`[author] warning: ${message}`)
    for (const finding of warned.slice(0, 10))
      this.#answer.say(`[secret] warning: ${describeFinding(finding, names)}`)
    if (warned.length > 10) this.#answer.say(`[secret] warning: ... and ${warned.length - 10} more`)
    if (unscanned > 0)
      this.#answer.say(`note: ${unscanned} objects of the history were not scanned for secrets`)
    const all = [...problems, ...denied]
    if (all.length > 0)
      throw new PushRefused([...all, ...held.map((finding) => secretProblem(finding, names))])
    if (held.length === 0) return
    const {request, grant, repository} = this.#session
    await this.#parts.held.hold({
      request,
      task: grant.task,
      at: new Date(this.#parts.clock.now()).toISOString(),
      repository: repository.name,
      commands: this.#request.commands.map((one) => ({...one, ref: this.#names.record(one.ref)})),
      findings: held.map(({rule, type, object, path, line, fingerprint}) => ({
        rule,
        type,
        object,
        path: names.record(path),
        line,
        fingerprint,
      })),
    })
    throw new PushRefused(held.map((finding) => heldProblem(finding, names)))
  }

  async #store(known: Refs, quarantine: string): Promise<RefOutcome[]> {
    const {repository, grant} = this.#session
    const {commands, capabilities} = this.#request
    const {journal, refLocks} = this.#parts
    const upstream = this.#parts.upstreamOf(repository)
    await journal.append({phase: 'intent', op: 'push', ...this.#record()})
    this.#intended = true
    const outcomes = await refLocks.hold(
      commands.map(({ref}) => `${repository.name} ${ref}`),
      () =>
        this.#timed('publish', async () => {
          try {
            return await upstream.publish({
              request: this.#session.request,
              repository,
              commands,
              quarantine,
              known,
              atomic: capabilities.has('atomic'),
              signal: this.#signal,
              say: (text) => this.#answer.say(text),
            })
          } catch (error) {
            this.#parts.log(`push ${this.#session.request}: ${String(error)}`)
            const settled = await settledOrUnknown(upstream, repository, commands)
            if (settled.every(({state}) => state === 'refused')) throw error
            return settled
          }
        }),
    )
    await this.#recordOutcome(outcomes)
    for (const {ref} of commands) {
      const task = this.#session.taskRefs.get(ref)
      if (grant.principal === 'operator' && task !== undefined) {
        this.#answer.say(
          `note: ${this.#names.show(ref)} is the branch of task ${task}, which has to fetch before it can push again`,
        )
      }
    }
    this.#parts.onStored(repository)
    return outcomes
  }

  /** What was done is done: a record that cannot be written now is made from the intent at the next start. */
  async #recordOutcome(outcomes: readonly RefOutcome[]): Promise<void> {
    const names = this.#names
    const done = outcomes.every(({state}) => state === 'done')
    const isKnown = outcomes.every(({state}) => state !== 'unknown')
    try {
      await this.#parts.journal.append({
        phase: 'outcome',
        op: 'push',
        request: this.#session.request,
        ...taskOf(this.#session.grant),
        decision: done ? 'allow' : isKnown ? 'upstream-reject' : 'unknown',
        refs: outcomes.map((outcome) => ({...outcome, ref: names.record(outcome.ref)})),
        ms: this.#progress.milliseconds,
      })
    } catch (error) {
      this.#parts.log(`push ${this.#session.request}: ${String(error)}`)
    }
  }

  async #refuse(found: readonly Problem[]): Promise<void> {
    const problems = await withoutSecrets(this.#parts.scan, found)
    const {grant, request, input, stateful} = this.#session
    try {
      await this.#parts.journal.append({
        phase: this.#intended ? 'outcome' : 'decision',
        op: 'push',
        ...this.#record(),
        ...refusalRecord(problems),
        ms: this.#progress.milliseconds,
      })
    } catch (error) {
      this.#parts.log(`push ${request}: ${String(error)}`)
    }
    // The client reads the answer only after it has sent everything.
    if (!stateful && !(await input.drain(2 * grant.push.limits.packBytes).catch(() => false))) {
      this.#answer.abandon()
      return
    }
    for (const line of explain(problems, grant.branch, request)) this.#answer.say(line)
    const unpack = problems.find((problem) => problem.class === 'pack' || problem.class === 'protocol')
    this.#answer.end(
      unpack?.message ?? 'ok',
      this.#request.commands.map(({ref}) => ({ref, reason: reasonFor(ref, problems)})),
    )
  }

  #problemsOf(error: unknown): readonly Problem[] {
    const problems = problemsOf(error, this.#session.signal)
    if (problems.some((problem) => problem.class === 'internal'))
      this.#parts.log(`push ${this.#session.request}: ${String(error)}`)
    return problems
  }

  get #names(): Names {
    if (!this.#progress.names) throw new Error('names were not checked')
    return this.#progress.names
  }

  #record(): Record<string, unknown> {
    return pushRecord(this.#session, this.#request, this.#progress)
  }

  async #timed<T>(name: string, work: () => Promise<T>): Promise<T> {
    const start = this.#parts.clock.now()
    try {
      return await work()
    } finally {
      this.#progress.milliseconds[name] = this.#parts.clock.now() - start
    }
  }
}
