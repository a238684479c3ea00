import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
} from 'node:http2'
import type {TLSSocket} from 'node:tls'
import type {Socket} from 'node:net'
import type {Headers} from '../facts.js'
import type {Sender, UpstreamAnswer, UpstreamRequest} from '../upstream.js'
import {http2Headers} from './stream.js'

/** Models think for minutes before the first byte; a stream of messages may be silent for as long. */
const FIRST_BYTE_MS = 15 * 60 * 1000
const IDLE_MS = 60_000
const WINDOW_BYTES = 1024 * 1024
const ATTEMPTS = 3

const {NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM} = constants

export interface Http2Options {
  /** opens a connection that offers both versions */
  dial: () => Promise<Socket>
  /** for endpoints that speak no HTTP/2 */
  http1: Sender
  /** takes over a connection that turned out to speak HTTP/1.1 */
  adopt: (socket: Socket) => void
}

/** A connection, and the last stream that its other side took on. */
interface Connection {
  session: ClientHttp2Session
  lastStream: number
}

/** HTTP/2 to one endpoint over one connection at a time, or HTTP/1.1 where the endpoint chooses it. */
export class Http2Sender implements Sender {
  readonly #options: Http2Options
  #connection: Promise<Connection | undefined> | undefined

  constructor(options: Http2Options) {
    this.#options = options
  }

  send(request: UpstreamRequest, answer: UpstreamAnswer): void {
    void this.#attempt(request, answer, ATTEMPTS)
  }

  /** What runs ends in peace. */
  close(): void {
    const connection = this.#connection
    this.#connection = undefined
    connection?.then((open) => open?.session.close()).catch(() => undefined)
  }

  async #attempt(request: UpstreamRequest, answer: UpstreamAnswer, left: number): Promise<void> {
    try {
      const connection = await this.#current()
      if (!connection) {
        this.#options.http1.send(request, answer)
        return
      }
      // A body that comes by and by cannot be sent twice.
      const isRepeatable = request.body === null || Buffer.isBuffer(request.body)
      const again = left > 1 && isRepeatable ? () => void this.#attempt(request, answer, left - 1) : undefined
      new Exchange(connection, request, answer, again)
    } catch (error) {
      answer.onError(error as Error)
    }
  }

  /** Undefined when the endpoint chose HTTP/1.1: it is asked once. */
  async #current(): Promise<Connection | undefined> {
    for (;;) {
      const opening = (this.#connection ??= this.#open())
      const connection = await opening
      if (!connection || !(connection.session.closed || connection.session.destroyed)) return connection
      if (this.#connection === opening) this.#connection = undefined
    }
  }

  #open(): Promise<Connection | undefined> {
    const opening = this.#dial()
    opening.catch(() => {
      if (this.#connection === opening) this.#connection = undefined
    })
    return opening
  }

  async #dial(): Promise<Connection | undefined> {
    const socket = await this.#options.dial()
    if ((socket as Partial<TLSSocket>).alpnProtocol !== 'h2') {
      this.#options.adopt(socket)
      return undefined
    }
    const session = connect('https://upstream.invalid', {
      createConnection: () => socket,
      settings: {enablePush: false, initialWindowSize: WINDOW_BYTES},
    })
    const connection = {session, lastStream: Infinity}
    session.once('connect', () => session.setLocalWindowSize(8 * WINDOW_BYTES))
    // Every stream hears of it itself.
    session.on('error', () => undefined)
    session.on('goaway', (_code, last: number) => (connection.lastStream = last))
    session.setTimeout(IDLE_MS, () => session.close())
    return connection
  }
}

/** One request in one stream. */
class Exchange {
  readonly #connection: Connection
  readonly #answer: UpstreamAnswer
  readonly #again: (() => void) | undefined
  readonly #stream: ClientHttp2Stream
  #problem: NodeJS.ErrnoException | undefined
  #trailers: Headers = []
  #hasHead = false
  #settled = false

  constructor(
    connection: Connection,
    request: UpstreamRequest,
    answer: UpstreamAnswer,
    again: (() => void) | undefined,
  ) {
    this.#connection = connection
    this.#answer = answer
    this.#again = again
    this.#stream = connection.session.request(requestBlock(request), {endStream: request.body === null})
    this.#listen(this.#stream)
    answer.onStart({
      abort: (reason) => this.#abort(reason),
      pause: () => void this.#stream.pause(),
      resume: () => void this.#stream.resume(),
    })
    if (Buffer.isBuffer(request.body)) this.#stream.end(request.body)
    else if (request.body !== null) void this.#pump(request.body)
  }

  #listen(stream: ClientHttp2Stream): void {
    stream.setTimeout(FIRST_BYTE_MS, () => this.#abort(new Error('the upstream is silent')))
    stream.on('response', (block: Record<string, HeaderValue>, flags: number) => {
      this.#hasHead = true
      const isWhole = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
      this.#answer.onHead(Number(block[':status']), pairs(block), isWhole)
    })
    stream.on('data', (chunk: Buffer) => this.#answer.onData(chunk))
    stream.on('trailers', (block: Record<string, HeaderValue>) => {
      this.#trailers = pairs(block)
    })
    stream.on('end', () => this.#end())
    stream.on('error', (error: Error) => void (this.#problem ??= error))
    stream.once('close', () => this.#close())
  }

  #abort(reason: Error): void {
    this.#problem ??= reason
    // Node's `close(code)` would end the body in order before it resets the stream.
    this.#stream.destroy(reason)
  }

  /** What the body's source throws ends the stream: half a body must not look like a whole one. */
  async #pump(body: AsyncIterable<Buffer>): Promise<void> {
    const stream = this.#stream
    try {
      for await (const chunk of body) {
        if (stream.closed || stream.destroyed) return
        if (!stream.write(chunk)) await drained(stream)
      }
      stream.end()
    } catch (error) {
      this.#abort(error as Error)
    }
  }

  /** Node ends the reading of a stream that was reset like that of a whole one: only the code tells. */
  #end(): void {
    const {rstCode, writableFinished} = this.#stream
    if (!this.#hasHead || this.#problem || rstCode !== NGHTTP2_NO_ERROR) return
    this.#settled = true
    this.#answer.onEnd(this.#trailers)
    // It answered before it had read everything, and does not want the rest.
    if (!writableFinished) this.#stream.destroy()
  }

  #close(): void {
    if (this.#settled) return
    this.#settled = true
    const {rstCode, id} = this.#stream
    const isUntouched = rstCode === NGHTTP2_REFUSED_STREAM || (id ?? 0) > this.#connection.lastStream
    const isOurs = this.#problem !== undefined && !this.#problem.code?.startsWith('ERR_HTTP2')
    if (isUntouched && !isOurs && !this.#hasHead && this.#again) this.#again()
    else this.#answer.onError(this.#problem ?? reset(rstCode))
  }
}

function requestBlock({method, path, headers, body, length, trailers}: UpstreamRequest): OutgoingHttpHeaders {
  const [[, authority] = ['host', ''], ...others] = headers
  const bytes = Buffer.isBuffer(body) ? body.length : length
  return {
    ':method': method,
    ':scheme': 'https',
    ':authority': authority,
    ':path': path,
    ...http2Headers(others),
    ...(trailers ? {te: 'trailers'} : {}),
    ...(body === null || bytes === undefined ? {} : {'content-length': String(bytes)}),
  }
}

function reset(code: number | undefined): NodeJS.ErrnoException {
  const error: NodeJS.ErrnoException = new Error(`the upstream reset the stream with code ${code ?? '?'}`)
  error.code = 'ERR_HTTP2_STREAM_ERROR'
  return error
}

function drained(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}

type HeaderValue = string | string[] | undefined

function pairs(block: Record<string, HeaderValue>): Headers {
  return Object.entries(block).flatMap(([name, value]): Headers => {
    if (name.startsWith(':') || value === undefined) return []
    return Array.isArray(value) ? value.map((one) => [name, one]) : [[name, value]]
  })
}
