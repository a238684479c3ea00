import {constants, performServerHandshake, type IncomingHttpHeaders, type ServerHttp2Stream} from 'node:http2'
import type {TLSSocket} from 'node:tls'
import {Denial} from '../denial.js'
import type {Asked, Exchange} from '../exchange.js'
import {headerPairs, type RequestHead} from '../facts.js'
import type {Records} from '../records.js'
import type {ConnectionTarget} from '../target.js'
import {Allowance} from './allowance.js'
import {http2Head} from './head.js'
import {Http2Request, Http2Response} from './stream.js'

const IDLE_MS = 300_000
const MAX_STREAMS = 128
/** Of all connections together: each may hold a window's worth of bytes that nobody has read yet. */
const MAX_ALL_STREAMS = 1024
/** Streams that an agent takes back: so many at once, and so many a second for good (rapid reset). */
const RESETS_BURST = 200
const RESETS_PER_SECOND = 20

const {NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM, NGHTTP2_REFUSED_STREAM} = constants

/** HTTP/2 connections of the agent: every stream is a request of its own, on the way that all requests go. */
export class Http2Agents {
  readonly #exchange: Exchange
  readonly #records: Records
  #streams = 0

  constructor(exchange: Exchange, records: Records) {
    this.#exchange = exchange
    this.#records = records
  }

  serve(socket: TLSSocket, target: ConnectionTarget): void {
    const session = performServerHandshake(socket, {
      // Extended CONNECT stays off: a WebSocket in a stream is a stream error (RFC 8441, 3).
      settings: {
        enableConnectProtocol: false,
        maxConcurrentStreams: MAX_STREAMS,
        maxHeaderListSize: 16 * 1024,
      },
      maxSessionInvalidFrames: 100,
      maxSessionRejectedStreams: 100,
    })
    const resets = new Allowance(RESETS_BURST, RESETS_PER_SECOND)
    session.setTimeout(IDLE_MS, () => session.close())
    session.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET') this.#refuse(target, `${error.code ?? ''} ${error.message}`.trim())
    })
    session.on(
      'stream',
      (stream: ServerHttp2Stream, _headers: IncomingHttpHeaders, flags: number, raw: string[]) => {
        const response = new Http2Response(stream)
        stream.on('error', () => undefined)
        const takenBack = () => {
          if (response.finished || response.cut || session.destroyed || resets.take()) return
          this.#refuse(target, 'streams are taken back too often')
          session.destroy(undefined, NGHTTP2_ENHANCE_YOUR_CALM)
        }
        // It came and went in one packet: there is nobody left to answer.
        if (response.destroyed) takenBack()
        else if (this.#streams >= MAX_ALL_STREAMS) response.refuse(NGHTTP2_REFUSED_STREAM)
        else {
          response.once('close', takenBack)
          this.#take(stream, response, target, raw, (flags & NGHTTP2_FLAG_END_STREAM) !== 0)
        }
      },
    )
  }

  #take(
    stream: ServerHttp2Stream,
    response: Http2Response,
    target: ConnectionTarget,
    raw: string[],
    isWhole: boolean,
  ): void {
    this.#streams++
    stream.once('close', () => this.#streams--)
    const asked: Asked = {}
    let head: RequestHead = {method: '', url: '', rawHeaders: []}
    try {
      head = http2Head(raw, target.scheme, isWhole)
    } catch (error) {
      if (!(error instanceof Denial)) throw error
      asked.malformed = error
    }
    const headers = headerPairs(head.rawHeaders)
    asked.expectsContinue = headers.some(
      ([name, value]) => name === 'expect' && /^100-continue$/i.test(value),
    )
    response.takesTrailers = headers.some(([name]) => name === 'te')
    void this.#exchange.handle(new Http2Request(stream, head, response), response, target, asked)
  }

  #refuse({host, sni, port}: ConnectionTarget, detail: string): void {
    const name = host ?? sni
    this.#records.writeOnce({
      kind: 'connection',
      decision: 'deny',
      reason: 'http_malformed',
      port,
      ...(name === undefined ? {} : {host: name}),
      detail,
    })
  }
}
