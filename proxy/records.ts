import type {AuditEvent} from './audit/record.js'
import type {Ledger} from './audit/ledger.js'
import type {Metrics} from './metrics.js'

const QUIET_MS = 60_000
const MAX_KEYS = 1024
/** Different ones may be invented as well, so there is a ceiling for all of them in that time. */
const MAX_QUIET = 240

/** Every event goes to the ledger and is counted; what repeats without a request behind it is written once a minute. */
export class Records {
  readonly #ledger: Ledger
  readonly #metrics: Metrics
  readonly #now: () => number
  readonly #recent = new Map<string, number>()
  #windowStart = 0
  #written = 0
  #suppressed = 0

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
    if (!this.#hasRoom(now)) {
      this.#suppressed++
      return
    }
    this.#ledger.record(event)
  }

  #hasRoom(now: number): boolean {
    if (Math.abs(now - this.#windowStart) >= QUIET_MS) {
      const detail = `${this.#suppressed} events`
      if (this.#suppressed > 0)
        this.#ledger.record({kind: 'sidecar', decision: 'deny', reason: 'events_suppressed', detail})
      this.#windowStart = now
      this.#written = 0
      this.#suppressed = 0
    }
    return ++this.#written <= MAX_QUIET
  }

  #count(event: AuditEvent): void {
    const {kind, decision, reason, rule, bytesUp, bytesDown, usage, findings = [], ms} = event
    this.#metrics.add('events_total', {kind, decision, reason})
    if (rule) this.#metrics.add('rule_decisions_total', {decision, rule})
    for (const finding of findings)
      this.#metrics.add('findings_total', {rule: finding.rule, place: finding.place})
    if (kind === 'request' && ms !== undefined) this.#metrics.observe('request_seconds', ms / 1000)
    if (bytesUp) this.#metrics.add('bytes_up_total', {kind}, bytesUp)
    if (usage) {
      this.#metrics.add('model_tokens_total', {direction: 'input'}, usage.input)
      this.#metrics.add('model_tokens_total', {direction: 'output'}, usage.output)
      this.#metrics.add('model_usd_total', {}, usage.usd)
    }
    if (bytesDown) this.#metrics.add('bytes_down_total', {kind}, bytesDown)
  }
}
