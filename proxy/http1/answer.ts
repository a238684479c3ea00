import type {Headers} from '../facts.js'

const MAX_HEAD_BYTES = 64 * 1024
/** the size of a chunk and what may stand behind it */
const MAX_SIZE_LINE = 1024
const MAX_INFORMATIONAL = 16

const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\u0020-\u007e\u0080-\u00ff]*)?$/
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const noFieldText = /[^\t\u0020-\u007e\u0080-\u00ff]/
const plainLength = /^\d{1,15}$/
const sizeLine = /^([0-9a-fA-F]{1,13})[ \t]*(?:;[\t\u0020-\u007e\u0080-\u00ff]*)?$/

/** Hears of one answer: its head, what of its body comes, nothing more once it is over. */
export interface AnswerListener {
  onHead(status: number, headers: Headers): void
  onData(chunk: Buffer): void
}

/** An answer that two readers could read in two ways, or that is none. */
export class AnswerError extends Error {
  readonly code = 'ERR_HTTP1'
}

/**
 * Reads one answer from the bytes of a connection as RFC 9112 has it, and strictly: what is doubtful ends it.
 * `push` and `close` throw AnswerError.
 */
export class AnswerReader {
  #state: 'head' | 'length' | 'size' | 'chunk' | 'chunk-end' | 'trailers' | 'close' | 'done' = 'head'
  readonly #method: string
  readonly #listener: AnswerListener
  #held: Buffer | undefined
  /** bytes of the body, or of the chunk, that are still to come */
  #left = 0
  #informational = 0
  #trailerBytes = 0
  /** milliseconds that the other side keeps the connection for the next request; 0 = it does not */
  keptFor = Infinity
  /** what came behind the answer */
  surplus: Buffer | undefined
  /** that anything came at all */
  begun = false

  constructor(method: string, listener: AnswerListener) {
    this.#method = method
    this.#listener = listener
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  get hasHead(): boolean {
    return this.#state !== 'head'
  }

  push(bytes: Buffer): void {
    this.begun = true
    let rest: Buffer | undefined = this.#held ? Buffer.concat([this.#held, bytes]) : bytes
    this.#held = undefined
    while (rest && rest.length > 0) rest = this.#step(rest)
  }

  /** The other side ended the connection in order. */
  close(): void {
    if (this.#state === 'close') this.#state = 'done'
    else if (this.#state !== 'done')
      throw new AnswerError('the connection was closed before the answer was whole')
  }

  /** Gives back what it did not use; undefined when it needs more first. */
  #step(bytes: Buffer): Buffer | undefined {
    switch (this.#state) {
      case 'head':
        return this.#lines(bytes, '\r\n\r\n', MAX_HEAD_BYTES, (text) => this.#head(text))
      case 'length':
      case 'chunk':
        return this.#body(bytes)
      case 'close':
        this.#listener.onData(bytes)
        return undefined
      case 'size':
        return this.#lines(bytes, '\r\n', MAX_SIZE_LINE, (text) => this.#size(text))
      case 'chunk-end':
        return this.#lines(bytes, '\r\n', 2, (text) => {
          if (text !== '') throw new AnswerError('a chunk is longer than it says')
          this.#state = 'size'
        })
      case 'trailers':
        return this.#lines(bytes, '\r\n', MAX_HEAD_BYTES, (text) => this.#trailer(text))
      case 'done':
        // They answer nothing: whoever reads on would take them for the next answer.
        this.surplus = bytes
        this.keptFor = 0
        return undefined
    }
  }

  #lines(bytes: Buffer, end: string, most: number, read: (text: string) => void): Buffer | undefined {
    const at = bytes.indexOf(end, 0, 'latin1')
    if (at > most || (at < 0 && bytes.length > most))
      throw new AnswerError('a line or a header block is too long')
    if (at < 0) {
      this.#held = bytes
      return undefined
    }
    read(bytes.toString('latin1', 0, at))
    return bytes.subarray(at + end.length)
  }

  #body(bytes: Buffer): Buffer {
    const part = bytes.length > this.#left ? bytes.subarray(0, this.#left) : bytes
    this.#left -= part.length
    if (this.#left === 0) this.#state = this.#state === 'chunk' ? 'chunk-end' : 'done'
    this.#listener.onData(part)
    return bytes.subarray(part.length)
  }

  #size(line: string): void {
    const digits = sizeLine.exec(line)?.[1]
    if (digits === undefined) throw new AnswerError('the size of a chunk cannot be read')
    this.#left = parseInt(digits, 16)
    this.#state = this.#left === 0 ? 'trailers' : 'chunk'
  }

  #trailer(line: string): void {
    if (line === '') {
      this.#state = 'done'
      return
    }
    this.#trailerBytes += line.length
    if (this.#trailerBytes > MAX_HEAD_BYTES) throw new AnswerError('the trailers are too long')
    headerOf(line)
  }

  #head(text: string): void {
    const [first = '', ...lines] = text.split('\r\n')
    const [, minor, code] = statusLine.exec(first) ?? []
    if (code === undefined) throw new AnswerError('the answer is no HTTP/1')
    const status = Number(code)
    const headers = lines.map(headerOf)
    if (status < 200 && status !== 101) {
      if (++this.#informational > MAX_INFORMATIONAL)
        throw new AnswerError('too many answers before the answer')
      return
    }
    this.#frame(status, headers, minor === '1')
    this.#listener.onHead(status, headers)
  }

  /** Where the body ends, and whether another answer can follow it (RFC 9112, 6.3). */
  #frame(status: number, headers: Headers, persistent: boolean): void {
    let length: number | undefined
    let isChunked = false
    if (!persistent) this.keptFor = 0
    for (const [sent, value] of headers) {
      const name = sent.toLowerCase()
      if (name === 'content-length') {
        const stated = lengthOf(value)
        if (length !== undefined && length !== stated) throw new AnswerError('two lengths')
        length = stated
      } else if (name === 'transfer-encoding') {
        if (isChunked || !persistent || value.toLowerCase() !== 'chunked')
          throw new AnswerError('an unknown transfer coding')
        isChunked = true
      } else if (name === 'connection') {
        if (/(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(value)) this.keptFor = 0
      } else if (name === 'keep-alive') {
        const seconds = /timeout=(\d{1,9})/i.exec(value)?.[1]
        if (seconds !== undefined) this.keptFor = Math.min(this.keptFor, Number(seconds) * 1000)
      }
    }
    if (isChunked && length !== undefined) throw new AnswerError('a length and a transfer coding')
    const isEmpty =
      this.#method === 'HEAD' || status === 204 || status === 304 || status === 101 || length === 0
    if (isEmpty) this.#state = 'done'
    else if (isChunked) this.#state = 'size'
    else if (length !== undefined) {
      this.#left = length
      this.#state = 'length'
    } else {
      this.#state = 'close'
      this.keptFor = 0
    }
  }
}

function headerOf(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  const name = line.slice(0, colon)
  const value = line.slice(colon + 1)
  if (colon <= 0 || !token.test(name) || noFieldText.test(value))
    throw new AnswerError('a header cannot be read')
  return [name, value.trim()]
}

/** One number, or the same one several times. */
function lengthOf(value: string): number {
  if (plainLength.test(value)) return Number(value)
  const [first = '', ...others] = value.split(',').map((one) => one.trim())
  if (!plainLength.test(first) || others.some((other) => other !== first))
    throw new AnswerError('a length that is none')
  return Number(first)
}
