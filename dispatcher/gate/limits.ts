import type {Clock} from '../../core/clock.js'

/** A store of tokens that fills with time; what is taken from an empty one is refused. */
export class Bucket {
  #tokens: number
  #at: number
  readonly #size: number
  readonly #perSecond: number
  readonly #clock: Clock

  constructor(size: number, perSecond: number, clock: Clock) {
    this.#size = size
    this.#perSecond = perSecond
    this.#clock = clock
    this.#tokens = size
    this.#at = clock.now()
  }

  take(): boolean {
    const now = this.#clock.now()
    this.#tokens = Math.min(this.#size, this.#tokens + ((now - this.#at) / 1000) * this.#perSecond)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

const REQUESTS = {burst: 2000, perSecond: 50}
const PUSHES = {burst: 300, perSecond: 2}
const AT_ONCE = 8
/** beyond: a package manager may fetch two dozen repositories at once, and its git does not ask twice */
const WAITING = 24

interface TaskState {
  requests: Bucket
  pushes: Bucket
  running: number
  waiting: (() => void)[]
}

/** What one task may ask at once and over time, so that none takes the door from the others. */
export class TaskLimits {
  readonly #clock: Clock
  readonly #tasks = new Map<string, TaskState>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Resolves when the request may begin, in the order in which they came.
   * @returns a function to call when the request is over, or undefined when it must not begin
   */
  async begin(task: string, isPush: boolean): Promise<(() => void) | undefined> {
    const state = this.#tasks.get(task) ?? {
      requests: new Bucket(REQUESTS.burst, REQUESTS.perSecond, this.#clock),
      pushes: new Bucket(PUSHES.burst, PUSHES.perSecond, this.#clock),
      running: 0,
      waiting: [],
    }
    this.#tasks.set(task, state)
    const isFull = state.running >= AT_ONCE
    if (isFull && state.waiting.length >= WAITING) return undefined
    if (!state.requests.take() || (isPush && !state.pushes.take())) return undefined
    // A place that gets free goes to the next one without being free in between.
    if (isFull) await new Promise<void>((resolve) => state.waiting.push(resolve))
    else state.running++
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      const next = state.waiting.shift()
      if (next) next()
      else state.running--
    }
  }
}
