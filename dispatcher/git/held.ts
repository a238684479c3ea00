import {readFile, readdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {writeDurably} from '../../core/durable-file.js'
import {CageError, ExitCode} from '../../core/errors.js'
import {isTaskName, type HeldDecision, type HeldPush} from '../socket-api.js'

/** What a person has said about the findings of one task. */
interface TaskState {
  /** the last push that waits; another one takes its place */
  pending?: HeldPush
  /** `RULE FINGERPRINT` */
  approved: string[]
  rejected: string[]
}

export type Verdict = 'open' | 'approved' | 'rejected'

interface Judged {
  rule: string
  fingerprint: string
}

const NOTHING: TaskState = {approved: [], rejected: []}

/**
 * Pushes that wait for a person. What is approved are values, known by rule and keyed hash, not commits: the agent pushes
 * again, everything is judged anew, and what the person has not seen is held again.
 */
export class HeldPushes {
  readonly #directory: string
  #queue: Promise<unknown> = Promise.resolve()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** What was said about findings, in their order. */
  async verdicts(task: string, findings: readonly Judged[]): Promise<Verdict[]> {
    const {approved, rejected} = await this.#read(task)
    return findings.map((finding) => {
      const key = keyOf(finding)
      return rejected.includes(key) ? 'rejected' : approved.includes(key) ? 'approved' : 'open'
    })
  }

  /** On disk before it resolves. */
  hold(push: HeldPush): Promise<void> {
    return this.#change(push.task, (state) => ({...state, pending: push}))
  }

  async list(): Promise<HeldPush[]> {
    const names = await readdir(this.#directory).catch(() => [])
    const states = await Promise.all(
      names
        .filter((name) => name.endsWith('.json'))
        .map((name) => this.#read(name.slice(0, -'.json'.length))),
    )
    return states.flatMap(({pending}) => pending ?? [])
  }

  /**
   * Errors: NOTHING_HELD, HELD_CHANGED when it is not the push that the person looked at.
   * @param record writes down that it is decided, before it is
   */
  async decide(
    task: string,
    {request, approve}: HeldDecision,
    record: () => Promise<void>,
  ): Promise<HeldPush> {
    let decided: HeldPush | undefined
    await this.#change(task, async (state) => {
      const {pending, ...rest} = state
      if (!pending)
        throw new CageError(`no push of task ${task} is held`, {
          code: 'NOTHING_HELD',
          exitCode: ExitCode.notFound,
        })
      if (pending.request !== request)
        throw new CageError(`task ${task} has pushed something else meanwhile: request ${pending.request}`, {
          code: 'HELD_CHANGED',
          hints: [`Look at it: cage task approve ${task}`],
        })
      await record()
      decided = pending
      const keys = new Set(pending.findings.map(keyOf))
      const others = (list: readonly string[]) => list.filter((key) => !keys.has(key))
      return approve
        ? {approved: [...others(rest.approved), ...keys], rejected: others(rest.rejected)}
        : {approved: others(rest.approved), rejected: [...others(rest.rejected), ...keys]}
    })
    if (!decided) throw new Error('nothing was decided')
    return decided
  }

  /** The task is gone, and what was said about it. */
  async remove(task: string): Promise<void> {
    await rm(this.#pathOf(task), {force: true})
  }

  async #read(task: string): Promise<TaskState> {
    try {
      return JSON.parse(await readFile(this.#pathOf(task), 'utf8')) as TaskState
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return NOTHING
      throw error
    }
  }

  #change(task: string, change: (state: TaskState) => TaskState | Promise<TaskState>): Promise<void> {
    const changed = this.#queue.then(async () => {
      await writeDurably(this.#pathOf(task), JSON.stringify(await change(await this.#read(task))))
    })
    this.#queue = changed.catch(() => undefined)
    return changed
  }

  #pathOf(task: string): string {
    if (!isTaskName(task))
      throw new CageError('not the name of a task', {code: 'TASK_NAME', exitCode: ExitCode.usage})
    return join(this.#directory, `${task}.json`)
  }
}

function keyOf({rule, fingerprint}: Judged): string {
  return `${rule} ${fingerprint}`
}
