import {Transform, type TransformCallback} from 'node:stream'
import type {Shape} from './calls.js'
import {EventReader, type StreamedEvent} from './events.js'
import {nothingSeen, see, type Seen} from './usage.js'

/** An answer in one piece that is larger passes unread. */
const MAX_ANSWER = 32 * 1024 * 1024

export interface MeterOptions {
  shape: Shape
  /** server-sent events; else one JSON text */
  streamed: boolean
  /** the agent did not ask for the event that says what was used */
  hidesUsage: boolean
  /** asked after every event; true ends the answer */
  isOver: (seen: Seen) => boolean
  /** called once when the answer was ended */
  stop: () => void
}

/** Reads what an answer used while it passes. A stream that the budget does not bear any longer ends with an error event. */
export class Meter extends Transform {
  seen = nothingSeen
  readonly #options: MeterOptions
  readonly #events = new EventReader()
  #whole: Buffer[] = []
  #wholeBytes = 0
  #stopped = false

  constructor(options: MeterOptions) {
    super()
    this.#options = options
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (this.#stopped) {
      done()
      return
    }
    if (this.#options.streamed) this.#pass(this.#events.push(chunk))
    else {
      this.#wholeBytes += chunk.length
      if (this.#wholeBytes <= MAX_ANSWER) this.#whole.push(chunk)
      else this.#whole = []
      this.push(chunk)
    }
    done()
  }

  override _flush(done: TransformCallback): void {
    if (this.#options.streamed && !this.#stopped) this.push(this.#events.end())
    else if (this.#whole.length > 0) this.#see(Buffer.concat(this.#whole).toString('utf8'), true)
    done()
  }

  #pass(events: readonly StreamedEvent[]): void {
    for (const {bytes, data} of events) {
      const value = data === undefined ? undefined : this.#see(data, false)
      if (!this.#options.hidesUsage || !isUsageAlone(value)) this.push(bytes)
      if (!this.#options.isOver(this.seen)) continue
      this.#stopped = true
      this.push(lastEvent(this.#options.shape))
      this.#options.stop()
      return
    }
  }

  #see(text: string, whole: boolean): unknown {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      return undefined
    }
    this.seen = see(this.#options.shape, this.seen, value)
    if (whole && this.seen.usage !== nothingSeen.usage) this.seen = {...this.seen, final: true}
    return value
  }
}

/** The event that a chat stream ends with when usage was asked for: clients that did not ask trip over its empty list. */
function isUsageAlone(value: unknown): boolean {
  const {choices, usage} = (value ?? {}) as {choices?: unknown; usage?: unknown}
  return Array.isArray(choices) && choices.length === 0 && typeof usage === 'object' && usage !== null
}

const MESSAGE = 'cage: the budget of this task is spent; the answer ends here'

function lastEvent(shape: Shape): Buffer {
  const error = {type: 'cage_denied', code: 'budget_spent', message: MESSAGE}
  const named = shape === 'anthropic' || shape === 'responses' ? 'event: error\n' : ''
  const data = shape === 'responses' ? {...error, type: 'error'} : {type: 'error', error}
  return Buffer.from(`${named}data: ${JSON.stringify(data)}\n\n`)
}
