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

/** What one task may ask at once and over time, so that none takes the door from the others. */
export class TaskLimits {
  readonly #clock: Clock
  readonly #tasks = new Map<string, {requests: Bucket; pushes: Bucket; running: number}>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns a function to call when the request is over, or undefined when it must not begin */
  begin(task: string, isPush: boolean): (() => void) | undefined {
    const state = this.#tasks.get(task) ?? {
      requests: new Bucket(REQUESTS.burst, REQUESTS.perSecond, this.#clock),
      pushes: new Bucket(PUSHES.burst, PUSHES.perSecond, this.#clock),
      running: 0,
    }
    this.#tasks.set(task, state)
    if (state.running >= AT_ONCE || !state.requests.take() || (isPush && !state.pushes.take()))
      return undefined
    state.running++
    let over = false
    return () => {
      if (!over) state.running--
      over = true
    }
  }
}
