import {messageOf} from '../../core/errors.js'
import type {EgressGrant} from '../../policy/grant.js'
import {Denial} from '../denial.js'
import type {Counters} from './counters.js'

export type Limits = EgressGrant['budget']

export interface Spend {
  tokens: number
  usd: number
  seconds: number
}

/** Tokens, and thousand millionths of a US dollar. */
export interface Amount {
  tokens: number
  nanoUsd: number
}

/** What one call may need: fixed for its input, and for each token of output. */
export interface Need {
  input: Amount
  /** `tokens` of output, all answers together */
  output: number
  nanoUsdPerOutput: number
  /** the least output that makes sense */
  floor: number
}

export interface Reservation {
  /** tokens of output that were found room for */
  output: number
  /** whether so much, beside all that is spent and reserved for others, is more than the limits bear */
  isOver(spent: Amount): boolean
  /** what it came to in the end */
  settle(spent: Amount): Promise<void>
}

const WAIT_MS = 15_000
/** Time is written ahead by this much, so that a sidecar that dies cannot forget more than it. */
const TICK_MS = 15_000

/** What a task has spent, and whether it may spend more. Reserved before a request leaves, settled when it is over. */
export class Budget {
  readonly #counters: Counters
  readonly #now: () => number
  readonly #waitMs: number
  readonly #open = new Set<Amount>()
  #spent: Amount
  readonly #waiting = new Set<() => void>()
  readonly #startedAt: number
  readonly #secondsBefore: number
  #timer: NodeJS.Timeout | undefined

  /** @param now milliseconds that never jump */
  constructor(counters: Counters, now: () => number = () => performance.now(), waitMs = WAIT_MS) {
    this.#counters = counters
    this.#now = now
    this.#waitMs = waitMs
    this.#spent = {tokens: counters.get('tokens'), nanoUsd: counters.get('nanoUsd')}
    this.#startedAt = now()
    this.#secondsBefore = counters.get('seconds')
  }

  /** Seconds that the task has been at work. */
  get seconds(): number {
    return this.#secondsBefore + (this.#now() - this.#startedAt) / 1000
  }

  /** What is set aside at the moment counts. */
  get spend(): Spend {
    const {tokens, nanoUsd} = this.#held()
    return {tokens, usd: nanoUsd / 1e9, seconds: Math.floor(this.seconds)}
  }

  /** Writes the time down from now on. */
  keepTime(): void {
    const tick = () => {
      const ahead = Math.ceil(this.seconds + TICK_MS / 1000)
      void this.#counters.set('seconds', ahead).catch(() => undefined)
    }
    tick()
    this.#timer = setInterval(tick, TICK_MS).unref()
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#counters.set('seconds', Math.ceil(this.seconds)).catch(() => undefined)
  }

  isOvertime({seconds}: Limits): boolean {
    return seconds !== undefined && this.seconds >= seconds
  }

  /** Throws Denial `budget_spent` when the time is over. */
  requireTime(limits: Limits): void {
    if (this.isOvertime(limits)) throw spent('time')
  }

  /** How much of the limits is used up, 0 to 1 and above: of the one that is used up most. */
  used(limits: Limits): number {
    return Math.max(
      share(this.#spent.tokens, limits.tokens),
      share(this.#spent.nanoUsd, nano(limits.usd)),
      share(this.seconds, limits.seconds),
    )
  }

  /**
   * Sets aside what a call may need; when that is not there, what is left, down to the call's floor. Waits for a while
   * when others have it set aside. Throws Denial `budget_spent`, `budget_reserved` or `budget_unavailable`.
   */
  async reserve(need: Need, limits: Limits): Promise<Reservation> {
    const until = this.#now() + this.#waitMs
    for (;;) {
      const output = room(need, limits, this.#held())
      if (output >= need.output) return this.#take(need, need.output, limits)
      if (room(need, limits, this.#spent) < need.floor) throw spent(this.#tightest(need, limits))
      if (this.#open.size === 0) return this.#take(need, output, limits)
      const left = until - this.#now()
      if (left <= 0)
        throw new Denial('budget_reserved', {
          status: 429,
          hint: 'Requests that run at the moment may need the rest of the budget. Try again when they are over.',
        })
      await this.#change(left)
    }
  }

  #tightest(need: Need, limits: Limits): 'usd' | 'tokens' {
    return room(need, {...limits, tokens: Infinity}, this.#spent) < need.floor ? 'usd' : 'tokens'
  }

  async #take({input, nanoUsdPerOutput}: Need, output: number, limits: Limits): Promise<Reservation> {
    const amount = {tokens: input.tokens + output, nanoUsd: input.nanoUsd + output * nanoUsdPerOutput}
    this.#open.add(amount)
    try {
      await this.#save()
    } catch (error) {
      this.#open.delete(amount)
      throw new Denial('budget_unavailable', {status: 503, failed: true, detail: messageOf(error)})
    }
    return {
      output,
      isOver: (actual) => {
        const held = this.#held()
        return (
          held.tokens - amount.tokens + actual.tokens > (limits.tokens ?? Infinity) ||
          held.nanoUsd - amount.nanoUsd + actual.nanoUsd > nano(limits.usd)
        )
      },
      settle: async (actual) => {
        if (!this.#open.delete(amount)) return
        this.#spent = sum([this.#spent, actual])
        for (const wake of this.#waiting) wake()
        await this.#save()
      },
    }
  }

  /** Spent and set aside. */
  #held(): Amount {
    return sum([this.#spent, ...this.#open])
  }

  /** What is set aside counts as spent on disk: a sidecar that dies now never learns what it came to. */
  async #save(): Promise<void> {
    const {tokens, nanoUsd} = this.#held()
    await Promise.all([this.#counters.set('tokens', tokens), this.#counters.set('nanoUsd', nanoUsd)])
  }

  #change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      this.#waiting.add(wake)
    })
  }
}

/** Tokens of output that there is room for; negative when not even the input fits. */
function room({input, nanoUsdPerOutput}: Need, limits: Limits, held: Amount): number {
  const tokens = (limits.tokens ?? Infinity) - held.tokens - input.tokens
  const dollars = nano(limits.usd) - held.nanoUsd - input.nanoUsd
  if (dollars < 0) return -1
  return Math.min(tokens, nanoUsdPerOutput > 0 ? Math.floor(dollars / nanoUsdPerOutput) : Infinity)
}

function sum(amounts: readonly Amount[]): Amount {
  return amounts.reduce((a, b) => ({tokens: a.tokens + b.tokens, nanoUsd: a.nanoUsd + b.nanoUsd}))
}

function nano(usd = Infinity): number {
  return usd * 1e9
}

function share(spent: number, limit: number | undefined): number {
  if (limit === undefined || limit === Infinity) return 0
  return limit > 0 ? spent / limit : 1
}

function spent(what: 'tokens' | 'usd' | 'time'): Denial {
  return new Denial('budget_spent', {rule: `budget:${what}`})
}
