import type {EgressRule} from '../policy/grant.js'
import type {Counters} from './budget/counters.js'
import {Denial} from './denial.js'

const WINDOW_MS = 60 * 60 * 1000
/** Bytes are written down ahead in steps of this size, not with every request. */
const STEP_BYTES = 256 * 1024

interface Usage {
  /** tokens of the bucket, refilled `rps` times a second up to one second's worth */
  tokens: number
  refilledAt: number
  running: number
}

/** What an admitted request holds; `end` gives the place back. */
export interface Admission {
  /** Throws Denial when the bytes of this hour or of the task are spent. */
  sent: (bytes: number) => void
  end: () => void
}

/** The part of a request that limits look at. */
export interface Admitted {
  host?: string
  /** bytes that the whole task may send */
  uploadBytes?: number | undefined
}

/** What outlives a restart of the sidecar; without a disk nothing does. */
export type Remembered = Pick<Counters, 'get' | 'set'>

/** Rates per rule: requests per second, requests at once, bytes up per hour, distinct hosts; and bytes up of the task. */
export class Limits {
  readonly #now: () => number
  readonly #counters: Remembered
  readonly #usage = new Map<string, Usage>()
  readonly #bytes = new Map<string, {used: number; written: number}>()

  /** @param now milliseconds since the epoch */
  constructor(now: () => number = Date.now, counters: Remembered = forgetful()) {
    this.#now = now
    this.#counters = counters
  }

  /** Admits by the first matching rule that has room, as a rule without limits always has. Throws Denial `rate_limited` or `host_budget`. */
  admit(matched: readonly EgressRule[], admitted: Admitted = {}): Admission {
    return this.admitAll([matched], admitted)
  }

  /** As `admit`, for the calls of one request, each of which takes a place; its bytes count once. */
  admitAll(calls: readonly (readonly EgressRule[])[], {host = '', uploadBytes}: Admitted = {}): Admission {
    if (this.#bytesOf('upload').used >= (uploadBytes ?? Infinity))
      throw new Denial('budget_spent', {rule: 'budget:upload'})
    const entered: {rule: EgressRule; usage: Usage}[] = []
    const end = () => {
      for (const {usage} of entered.splice(0)) usage.running--
    }
    try {
      for (const matched of calls) {
        const rule = this.#choose(matched, host)
        if (rule) entered.push({rule, usage: this.#enter(rule, host)})
      }
    } catch (error) {
      end()
      throw error
    }
    const rules = new Set(entered.map(({rule}) => rule))
    return {
      sent: (bytes) => {
        if (this.#add('upload', bytes, uploadBytes) > (uploadBytes ?? Infinity))
          throw new Denial('budget_spent', {rule: 'budget:upload'})
        for (const rule of rules) this.#sent(rule, bytes)
      },
      end,
    }
  }

  /** The rule by which a call is let in; undefined when one without limits lets it in. */
  #choose(matched: readonly EgressRule[], host: string): EgressRule | undefined {
    if (matched.length === 0 || matched.some(({rate, hosts}) => !rate && hosts === undefined))
      return undefined
    const now = this.#now()
    const known = matched.filter((rule) => this.#knowsHost(rule, host))
    if (known.length === 0) throw new Denial('host_budget', {rule: matched[0]?.id ?? null})
    for (const rule of known) {
      const usage = this.#refreshed(rule, now)
      const {rps, concurrency, bytesUp} = rule.rate ?? {}
      if (rps !== undefined && usage.tokens < 1) continue
      if (concurrency !== undefined && usage.running >= concurrency) continue
      if (bytesUp !== undefined && this.#bytesOf(this.#window(rule, now)).used >= bytesUp) continue
      return rule
    }
    throw limited(known[0])
  }

  #enter(rule: EgressRule, host: string): Usage {
    const usage = this.#refreshed(rule, this.#now())
    this.#noteHost(rule, host)
    usage.tokens--
    usage.running++
    return usage
  }

  #sent(rule: EgressRule, bytes: number): void {
    const {bytesUp} = rule.rate ?? {}
    if (bytesUp !== undefined && this.#add(this.#window(rule, this.#now()), bytes, bytesUp) > bytesUp)
      throw limited(rule)
  }

  #refreshed(rule: EgressRule, now: number): Usage {
    const most = Math.max(1, rule.rate?.rps ?? 1)
    const usage = this.#usage.get(rule.id) ?? {tokens: most, refilledAt: now, running: 0}
    this.#usage.set(rule.id, usage)
    // A clock that jumps back gives nothing; one that jumps ahead gives one second's worth at most.
    const elapsed = Math.max(0, now - usage.refilledAt) / 1000
    usage.tokens = Math.min(most, usage.tokens + elapsed * (rule.rate?.rps ?? 1))
    usage.refilledAt = now
    return usage
  }

  /** The name that a rule's bytes of this hour are counted under. */
  #window({id}: EgressRule, now: number): string {
    const began = `since ${id}`
    const start = this.#counters.get(began)
    // A clock that was set back: the hour begins again, with what was sent in it.
    if (start > now) this.#remember(began, now || 1)
    else if (start === 0 || now - start >= WINDOW_MS) {
      this.#bytes.set(`up ${id}`, {used: 0, written: 0})
      // 0 stands for none.
      this.#remember(began, now || 1)
      this.#remember(`up ${id}`, 0)
    }
    return `up ${id}`
  }

  #bytesOf(name: string): {used: number; written: number} {
    const written = this.#counters.get(name)
    const known = this.#bytes.get(name) ?? {used: written, written}
    this.#bytes.set(name, known)
    return known
  }

  #add(name: string, bytes: number, limit = Infinity): number {
    const known = this.#bytesOf(name)
    known.used += bytes
    if (known.used > known.written) {
      known.written = known.used + Math.min(STEP_BYTES, Math.floor(limit / 16))
      this.#remember(name, known.written)
    }
    return known.used
  }

  #knowsHost({id, hosts}: EgressRule, host: string): boolean {
    if (hosts === undefined || this.#counters.get(`host ${id} ${host}`) > 0) return true
    return this.#counters.get(`hosts ${id}`) < hosts
  }

  #noteHost({id, hosts}: EgressRule, host: string): void {
    if (hosts === undefined || this.#counters.get(`host ${id} ${host}`) > 0) return
    this.#remember(`host ${id} ${host}`, 1)
    this.#remember(`hosts ${id}`, this.#counters.get(`hosts ${id}`) + 1)
  }

  /** In force at once. A disk that fails stops the audit as well, and with it every request. */
  #remember(name: string, value: number): void {
    void this.#counters.set(name, value).catch(() => undefined)
  }
}

function forgetful(): Remembered {
  const values = new Map<string, number>()
  return {
    get: (name) => values.get(name) ?? 0,
    set: (name, value) => {
      values.set(name, value)
      return Promise.resolve()
    },
  }
}

function limited(rule: EgressRule | undefined): Denial {
  return new Denial('rate_limited', {status: 429, rule: rule?.id ?? null})
}
