import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server as HttpServer,
  ServerResponse,
} from 'node:http'
import type {Socket} from 'node:net'
import type {Duplex} from 'node:stream'
import {createServer as createTlsServer, type Server as TlsServer, type TLSSocket} from 'node:tls'
import {Http1Response} from './agent.js'
import type {Leaves} from './certificates/leaves.js'
import {Denial, lastAnswer} from './denial.js'
import type {Asked, Exchange} from './exchange.js'
import {newRequestId} from './facts.js'
import {Http2Agents} from './http2/agent.js'
import type {Records} from './records.js'
import {canonicalSni, type ConnectionTarget} from './target.js'

const HEADERS_MS = 10_000
const IDLE_MS = 300_000
const MAX_HEADER_BYTES = 16 * 1024
const HANDSHAKE_MS = 10_000

export const httpOptions = {
  maxHeaderSize: MAX_HEADER_BYTES,
  headersTimeout: HEADERS_MS,
  // Long uploads and long answers are fine; silence is not.
  requestTimeout: 0,
  keepAliveTimeout: IDLE_MS,
  connectionsCheckingInterval: 2000,
  noDelay: true,
} as const

/** Leads every request of a server to the exchange, upgrades and those that wait for `100 Continue` included. */
export function serveRequests(
  server: HttpServer,
  exchange: Exchange,
  records: Records,
  targetOf: (socket: Socket) => ConnectionTarget | undefined,
): void {
  const handle = (request: IncomingMessage, response: ServerResponse, asked: Asked = {}) => {
    const target = targetOf(request.socket)
    if (target) void exchange.handle(request, new Http1Response(response), target, asked)
    else request.socket.destroy()
  }
  // Without a limit Node drops headers silently beyond it; the block's size bounds their number.
  server.maxHeadersCount = 0
  server.on('request', (request: IncomingMessage, response: ServerResponse) => handle(request, response))
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    handle(request, response, {expectsContinue: true}),
  )
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => undefined)
    // Node is done with the connection: one answer, and then either messages or the end.
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.once('finish', () => socket.end())
    handle(request, response, {tunnel: {socket, head}})
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    // Idle connections that simply end are no attempt at anything.
    if (error.code !== 'ECONNRESET' && error.code !== 'ERR_HTTP_REQUEST_TIMEOUT') {
      const {host, sni, port} = targetOf(socket) ?? {}
      const name = host ?? sni
      records.writeOnce({
        kind: 'connection',
        decision: 'deny',
        reason: 'http_malformed',
        ...(name === undefined ? {} : {host: name}),
        ...(port === undefined ? {} : {port}),
        detail: error.code ?? error.message,
      })
    }
    refuseMalformed(socket, error)
  })
}

/** What the parser rejects was never a request: the connection ends, because nobody knows where the next one begins. */
function refuseMalformed(socket: Socket, error: NodeJS.ErrnoException): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const status =
    error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  socket.end(lastAnswer(new Denial('http_malformed', {status}), {requestId: newRequestId()}))
}

/** Ends TLS of the agent's connections and hands every request to the exchange with what its connection said. */
export class Interceptor {
  readonly #http: HttpServer
  readonly #http2: Http2Agents
  readonly #tls: TlsServer
  readonly #records: Records
  readonly #targets = new WeakMap<Duplex, ConnectionTarget>()
  /** handshakes under way, by the addresses and ports of their connection */
  readonly #handshakes = new Map<string, ConnectionTarget>()

  constructor(exchange: Exchange, leaves: Leaves, records: Records) {
    this.#records = records
    this.#http = createHttpServer(httpOptions)
    serveRequests(this.#http, exchange, records, (socket) => this.#targets.get(socket))
    this.#http2 = new Http2Agents(exchange, records)
    this.#tls = createTlsServer({
      ALPNCallback: ({servername, protocols}) =>
        exchange.protocolsFor(canonicalSni(servername)).find((one) => protocols.includes(one)),
      handshakeTimeout: HANDSHAKE_MS,
      minVersion: 'TLSv1.2',
      SNICallback: (name, done) => {
        const host = canonicalSni(name)
        if (host === undefined) done(new Error('the server name is no host name'))
        else done(null, leaves.contextFor(host))
      },
    })
    this.#tls.on('secureConnection', (socket: TLSSocket) => this.#secured(socket))
    this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) =>
      this.#failed(error, socket),
    )
  }

  /** Plain HTTP on a connection. */
  plain(socket: Socket, target: ConnectionTarget): void {
    this.#targets.set(socket, target)
    this.#http.emit('connection', socket)
  }

  /** TLS on a connection. */
  secure(socket: Socket, target: ConnectionTarget): void {
    const key = connectionKey(socket)
    this.#handshakes.set(key, target)
    socket.once('close', () => this.#forget(key, target))
    this.#tls.emit('connection', socket)
  }

  #secured(socket: TLSSocket): void {
    const key = connectionKey(socket)
    const target = this.#handshakes.get(key)
    const sni = canonicalSni(socket.servername)
    if (!target || sni === undefined) {
      socket.destroy()
      return
    }
    this.#forget(key, target)
    if (socket.alpnProtocol === 'h2') this.#http2.serve(socket, {...target, sni})
    else {
      this.#targets.set(socket, {...target, sni})
      this.#http.emit('connection', socket)
    }
  }

  #failed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    const key = connectionKey(socket)
    const target = this.#handshakes.get(key)
    const named = typeof socket.servername === 'string'
    const host = target?.host ?? canonicalSni(socket.servername)
    this.#records.writeOnce({
      kind: 'connection',
      decision: 'deny',
      reason: named || /HTTP_REQUEST|WRONG_VERSION/.test(error.code ?? '') ? 'tls_failed' : 'sni_missing',
      ...(host === undefined ? {} : {host}),
      ...(target ? {port: target.port} : {}),
      detail: `${error.code ?? ''} ${error.message}`.trim(),
    })
    socket.destroy()
  }

  #forget(key: string, target: ConnectionTarget): void {
    if (this.#handshakes.get(key) === target) this.#handshakes.delete(key)
  }
}

function connectionKey(socket: Socket): string {
  return [socket.remoteAddress, socket.remotePort, socket.localAddress, socket.localPort].join(' ')
}
