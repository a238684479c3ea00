import type {Clock} from '../../core/clock.js'

const HOUR_MS = 3_600_000

/** Requests of the last hour per task and kind; the next one is let through while they are fewer than the limit. */
export class HourlyBudget {
  readonly #clock: Clock
  readonly #taken = new Map<string, number[]>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  take(task: string, kind: 'read' | 'write', limit: number): boolean {
    const key = `${kind} ${task}`
    const now = this.#clock.now()
    const recent = (this.#taken.get(key) ?? []).filter((at) => at > now - HOUR_MS)
    const fits = recent.length < limit
    if (fits) recent.push(now)
    this.#taken.set(key, recent)
    return fits
  }

  forget(task: string): void {
    this.#taken.delete(`read ${task}`)
    this.#taken.delete(`write ${task}`)
  }
}
