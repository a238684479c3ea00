import type {EgressRule} from '../policy/grant.js'
import {Denial} from './denial.js'

const WINDOW_MS = 60 * 60 * 1000

interface Usage {
  /** tokens of the bucket, refilled `rps` times a second up to one second's worth */
  tokens: number
  refilledAt: number
  running: number
  windowStart: number
  bytesUp: number
}

/** What an admitted request holds; `end` gives the place back. */
export interface Admission {
  /** Throws Denial when the rule's bytes of this hour are spent. */
  sent: (bytes: number) => void
  end: () => void
}

/** Rates per rule: requests per second, requests at once, bytes up per hour. */
export class Limits {
  readonly #now: () => number
  readonly #usage = new Map<string, Usage>()

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** Admits by the first matching rule that has room, as a rule without a rate always has. Throws Denial `rate_limited`. */
  admit(matched: readonly EgressRule[]): Admission {
    if (matched.length === 0 || matched.some(({rate}) => !rate))
      return {sent: () => undefined, end: () => undefined}
    const now = this.#now()
    for (const rule of matched) {
      const usage = this.#refreshed(rule, now)
      const {rps, concurrency, bytesUp} = rule.rate ?? {}
      if (rps !== undefined && usage.tokens < 1) continue
      if (concurrency !== undefined && usage.running >= concurrency) continue
      if (bytesUp !== undefined && usage.bytesUp >= bytesUp) continue
      usage.tokens--
      usage.running++
      return this.#admission(rule, usage)
    }
    throw limited(matched[0])
  }

  #admission(rule: EgressRule, usage: Usage): Admission {
    let ended = false
    return {
      sent: (bytes) => {
        usage.bytesUp += bytes
        if (usage.bytesUp > (rule.rate?.bytesUp ?? Infinity)) throw limited(rule)
      },
      end: () => {
        if (!ended) usage.running--
        ended = true
      },
    }
  }

  #refreshed(rule: EgressRule, now: number): Usage {
    const most = Math.max(1, rule.rate?.rps ?? 1)
    const usage = this.#usage.get(rule.id) ?? {
      tokens: most,
      refilledAt: now,
      running: 0,
      windowStart: now,
      bytesUp: 0,
    }
    this.#usage.set(rule.id, usage)
    // A clock that jumps back gives nothing; one that jumps ahead gives one second's worth at most.
    const elapsed = Math.max(0, now - usage.refilledAt) / 1000
    usage.tokens = Math.min(most, usage.tokens + elapsed * (rule.rate?.rps ?? 1))
    usage.refilledAt = now
    if (now - usage.windowStart >= WINDOW_MS) {
      usage.windowStart = now
      usage.bytesUp = 0
    }
    return usage
  }
}

function limited(rule: EgressRule | undefined): Denial {
  return new Denial('rate_limited', {status: 429, rule: rule?.id ?? null})
}
