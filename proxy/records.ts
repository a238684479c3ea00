import type {AuditEvent} from './audit/record.js'
import type {Ledger} from './audit/ledger.js'
import type {Metrics} from './metrics.js'

const QUIET_MS = 60_000
const MAX_KEYS = 1024

/** Every event goes to the ledger and is counted; what repeats without a request behind it is written once a minute. */
export class Records {
  readonly #ledger: Ledger
  readonly #metrics: Metrics
  readonly #now: () => number
  readonly #recent = new Map<string, number>()

  constructor(ledger: Ledger, metrics: Metrics, now: () => number = Date.now) {
    this.#ledger = ledger
    this.#metrics = metrics
    this.#now = now
  }

  get admitting(): boolean {
    return this.#ledger.admitting
  }

  write(event: AuditEvent): void {
    this.#count(event)
    this.#ledger.record(event)
  }

  /** For names that are asked for and connections that are cut: an agent can cause thousands a second. */
  writeOnce(event: AuditEvent): void {
    this.#count(event)
    const key = JSON.stringify([event.kind, event.reason, event.host, event.port])
    const now = this.#now()
    const last = this.#recent.get(key)
    if (last !== undefined && Math.abs(now - last) < QUIET_MS) return
    this.#recent.delete(key)
    this.#recent.set(key, now)
    if (this.#recent.size > MAX_KEYS) this.#recent.delete(this.#recent.keys().next().value ?? '')
    this.#ledger.record(event)
  }

  #count({kind, decision, reason, bytesUp, bytesDown}: AuditEvent): void {
    this.#metrics.add('events_total', {kind, decision, reason})
    if (bytesUp) this.#metrics.add('bytes_up_total', {kind}, bytesUp)
    if (bytesDown) this.#metrics.add('bytes_down_total', {kind}, bytesDown)
  }
}
