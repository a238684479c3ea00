import {constants, type OutgoingHttpHeaders, type ServerHttp2Stream} from 'node:http2'
import {Writable} from 'node:stream'
import type {AgentRequest, AgentResponse} from '../agent.js'
import type {Headers, RequestHead} from '../facts.js'

const LATEST_END_MS = 10_000
const {NGHTTP2_NO_ERROR} = constants

/** One stream of the agent as a request. */
export class Http2Request implements AgentRequest {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly rawHeaders: string[]
  readonly http2: {hasBody: boolean}
  readonly #stream: ServerHttp2Stream
  readonly #response: Http2Response

  constructor(stream: ServerHttp2Stream, head: RequestHead, response: Http2Response) {
    this.method = head.method
    this.url = head.url
    this.rawHeaders = head.rawHeaders
    this.http2 = head.http2 ?? {hasBody: false}
    this.#stream = stream
    this.#response = response
  }

  get complete(): boolean {
    return this.#stream.readableEnded
  }

  /** Throws when the agent takes the stream back: Node ends its reading as if that were the end of the body. */
  async *iterator(): AsyncGenerator<Buffer, undefined> {
    for await (const chunk of this.#stream.iterator({destroyOnReturn: false})) yield chunk as Buffer
    if (this.#stream.closed) throw new Error('the agent took the stream back')
    return undefined
  }

  resume(): void {
    this.#stream.resume()
  }

  destroy(): void {
    this.#response.refuse(NGHTTP2_NO_ERROR)
  }

  once(event: 'close' | 'end', listener: () => void): void {
    this.#stream.once(event, listener)
  }
}

/** One stream of the agent as the way back to it. */
export class Http2Response implements AgentResponse {
  readonly #stream: ServerHttp2Stream
  #trailers: Headers = []
  #body: Writable | undefined
  /** that this side ended it before its time */
  cut = false
  /** that the agent reads what follows a body */
  takesTrailers = false

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream
  }

  get headersSent(): boolean {
    return this.#stream.headersSent
  }

  get destroyed(): boolean {
    return this.#stream.destroyed || this.#stream.closed
  }

  get finished(): boolean {
    return this.#stream.writableFinished
  }

  get body(): Writable {
    this.#body ??= this.#isEarly ? new LateEnd(this.#stream) : this.#stream
    return this.#body
  }

  get #isEarly(): boolean {
    return !this.takesTrailers && !this.#stream.readableEnded && !this.#stream.endAfterHeaders
  }

  sendContinue(): void {
    this.#stream.additionalHeaders({':status': 100})
  }

  start(status: number, headers: Headers, isWhole = false): void {
    const block: OutgoingHttpHeaders = {':status': status, ...http2Headers(headers)}
    // A length would tell of the end before the end.
    if (this.body instanceof LateEnd) delete block['content-length']
    const options = {endStream: isWhole, sendDate: false, waitForTrailers: this.takesTrailers && !isWhole}
    this.#stream.once('wantTrailers', () => this.#stream.sendTrailers(http2Headers(this.#trailers)))
    this.#stream.respond(block, options)
  }

  trail(trailers: Headers): void {
    this.#trailers = trailers
  }

  /** Node's `close(code)` would end the body in order before it resets the stream. */
  destroy(): void {
    this.cut = true
    this.#stream.destroy(new Error('cut off'))
  }

  /** Before or after an answer, when there is no half of one to be told from a whole. */
  refuse(code: number): void {
    this.cut = true
    this.#stream.close(code)
  }

  /** Its own `close` comes only when all that the agent sent was read. */
  once(_event: 'close', listener: () => void): void {
    let called = false
    const first = () => {
      if (!called) listener()
      called = true
    }
    this.#stream.once('aborted', first).once('close', first)
  }
}

/**
 * An answer that begins before its request has ended: curl up to 8 waits forever when it ends before that as well.
 * What is still sent is for the caller to read and throw away.
 */
class LateEnd extends Writable {
  readonly #stream: ServerHttp2Stream

  constructor(stream: ServerHttp2Stream) {
    super()
    this.#stream = stream
    stream.once('close', () => this.destroy())
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#stream.write(chunk, encoding, done)
  }

  override _final(done: () => void): void {
    const stream = this.#stream
    const end = () => {
      clearTimeout(timer)
      stream.off('end', end).off('close', end)
      stream.end(done)
    }
    const timer = setTimeout(end, LATEST_END_MS)
    if (stream.readableEnded || stream.destroyed) end()
    else stream.once('end', end).once('close', end)
  }
}

/** Names in lower case, lines of one name together, as Node wants them. */
export function http2Headers(headers: Headers): OutgoingHttpHeaders {
  const block: Record<string, string | string[]> = {}
  for (const [sent, value] of headers) {
    const name = sent.toLowerCase()
    const known = block[name]
    if (known === undefined) block[name] = value
    else if (typeof known === 'string') block[name] = [known, value]
    else known.push(value)
  }
  return block
}
