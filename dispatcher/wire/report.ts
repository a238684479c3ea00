import type {Writable} from 'node:stream'
import {band, flush, packet} from './pkt-line.js'
import {plain} from './text.js'

const KEEP_ALIVE_MS = 5000
const MAX_LINES = 20

/** The fate of one ref; without `reason` it was done. */
export interface RefResult {
  ref: string
  reason?: string
}

/**
 * The answer to one push: text for the person on band 2, the report on band 1.
 * A client without side-band-64k gets the bare report, one without report-status nothing.
 */
export class PushAnswer {
  readonly #output: Writable
  readonly #capabilities: ReadonlySet<string>
  #keepAlive: NodeJS.Timeout | undefined
  #lines = 0
  #ended = false

  constructor(output: Writable, capabilities: ReadonlySet<string>) {
    this.#output = output
    this.#capabilities = capabilities
  }

  /** From here on an idle connection stays alive; only once the request has been read to its end. */
  startKeepAlive(): void {
    if (!this.#sideBand) return
    this.#keepAlive = setInterval(() => this.#write(Buffer.from('0005\x01')), KEEP_ALIVE_MS)
  }

  /** One line as `remote: cage: …`; the first ones of many. */
  say(text: string): void {
    if (!this.#sideBand || this.#ended) return
    this.#lines++
    if (this.#lines > MAX_LINES) return
    this.#write(band(2, `cage: ${plain(text)}\n`))
  }

  /** What goes on, overwritten by the next; not for a client that wants quiet. */
  progress(text: string): void {
    if (this.#sideBand && !this.#ended && !this.#capabilities.has('quiet'))
      this.#write(band(2, `cage: ${plain(text)}\r`))
  }

  /** @param unpack `ok`, or why the pack could not be read */
  end(unpack: string, results: readonly RefResult[]): void {
    if (this.#ended) return
    this.#ended = true
    clearInterval(this.#keepAlive)
    if (this.#capabilities.has('report-status') || this.#capabilities.has('report-status-v2')) {
      const lines = results.map(({ref, reason}) =>
        packet(reason === undefined ? `ok ${ref}\n` : `ng ${ref} ${plain(reason, 99)}\n`),
      )
      const report = Buffer.concat([packet(`unpack ${plain(unpack, 99)}\n`), ...lines, flush])
      this.#write(this.#sideBand ? band(1, report) : report)
    }
    if (this.#sideBand) this.#write(flush)
    this.#output.end()
  }

  /** Ends without a report: the client is gone or the framing is lost. */
  abandon(): void {
    this.#ended = true
    clearInterval(this.#keepAlive)
    this.#output.destroy()
  }

  get #sideBand(): boolean {
    return this.#capabilities.has('side-band-64k')
  }

  #write(bytes: Buffer): void {
    if (!this.#output.destroyed && !this.#output.writableEnded) this.#output.write(bytes)
  }
}
