const NEWLINE = 10
const RETURN = 13
/** Larger ones pass unread. */
const MAX_EVENT = 4 * 1024 * 1024

export interface StreamedEvent {
  /** blank line included */
  bytes: Buffer
  /** undefined for one that was too large to read */
  data: string | undefined
}

/** Cuts a stream of server-sent events behind each blank line, which is when a client acts on an event. */
export class EventReader {
  #held: Buffer[] = []
  #heldBytes = 0
  /** the line under way is empty so far */
  #blank = true
  #tooLarge = false

  push(chunk: Buffer): StreamedEvent[] {
    const events: StreamedEvent[] = []
    let start = 0
    let lineStart = 0
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, lineStart)) {
      if (this.#blank && isBlank(chunk, lineStart, at)) {
        events.push(this.#complete(chunk.subarray(start, at + 1)))
        start = at + 1
      }
      this.#blank = true
      lineStart = at + 1
    }
    this.#blank &&= isBlank(chunk, lineStart, chunk.length)
    this.#hold(chunk.subarray(start))
    if (this.#heldBytes > MAX_EVENT) {
      this.#tooLarge = true
      events.push({bytes: this.end(), data: undefined})
    }
    return events
  }

  /** What came without a blank line behind it. */
  end(): Buffer {
    const all = Buffer.concat(this.#held)
    this.#held = []
    this.#heldBytes = 0
    return all
  }

  #hold(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
  }

  #complete(bytes: Buffer): StreamedEvent {
    this.#hold(bytes)
    const all = this.end()
    const data = this.#tooLarge ? undefined : dataOf(all)
    this.#tooLarge = false
    return {bytes: all, data}
  }
}

function isBlank(bytes: Buffer, from: number, to: number): boolean {
  return to === from || (to - from === 1 && bytes[from] === RETURN)
}

function dataOf(event: Buffer): string {
  return event
    .toString('utf8')
    .split(/\r?\n/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length).trimStart())
    .join('\n')
}
