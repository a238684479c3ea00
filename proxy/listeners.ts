import {createServer as createHttpServer, type IncomingMessage, type Server as HttpServer} from 'node:http'
import {createServer, type Server, type Socket} from 'node:net'
import {sidecarPort} from '../core/layout.js'
import {Denial, lastAnswer} from './denial.js'
import type {Exchange} from './exchange.js'
import {newRequestId} from './facts.js'
import {httpOptions, serveRequests, type Interceptor} from './intercept.js'
import {isSynthetic, type SyntheticNames} from './names/synthetic.js'
import type {Records} from './records.js'
import {connectTarget, type ConnectionTarget} from './target.js'

const MAX_CONNECTIONS = 256
const FIRST_BYTE_MS = 10_000
const TLS_HANDSHAKE = 0x16

export interface ListenerParts {
  exchange: Exchange
  interceptor: Interceptor
  names: SyntheticNames
  records: Records
}

/** Starts the ports that the fence leads the agent's connections to; resolves when all of them listen. */
export async function startListeners(parts: ListenerParts): Promise<{close(): Promise<void>}> {
  const servers: [server: Server | HttpServer, port: number][] = [
    [explicitProxy(parts), sidecarPort.explicit],
    [transparent(parts, 'https', 443), sidecarPort.tls],
    [transparent(parts, 'http', 80), sidecarPort.http],
    [refusedPorts(parts), sidecarPort.otherTcp],
  ]
  for (const [server] of servers) server.maxConnections = MAX_CONNECTIONS
  await Promise.all(servers.map(([server, port]) => listen(server, port)))
  return {
    close: async () => {
      await Promise.all(servers.map(([server]) => closed(server)))
    },
  }
}

/** On every address, of both families where there are two: redirected connections arrive at synthetic ones. */
export function listen(server: Server | HttpServer, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

export function closed(server: Server | HttpServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
}

function transparent(
  {interceptor, names, records}: ListenerParts,
  scheme: 'https' | 'http',
  port: number,
): Server {
  return createServer({noDelay: true}, (socket) => {
    socket.on('error', () => undefined)
    const target = meantTarget(socket, names, scheme, port)
    if (!target) {
      records.writeOnce({kind: 'connection', decision: 'deny', reason: 'address_unknown', port})
      socket.resetAndDestroy()
    } else if (scheme === 'https') interceptor.secure(socket, target)
    else interceptor.plain(socket, target)
  })
}

/** The local address is the host's name; undefined for a synthetic one that was never handed out. */
function meantTarget(
  socket: Socket,
  names: SyntheticNames,
  scheme: 'https' | 'http',
  port: number,
): ConnectionTarget | undefined {
  const address = localAddressOf(socket)
  if (!isSynthetic(address)) return {via: 'address', scheme, port}
  const host = names.nameOf(address)
  return host === undefined ? undefined : {via: 'name', scheme, port, host}
}

function localAddressOf(socket: Socket): string {
  return (socket.localAddress ?? '').replace(/^::ffff:/, '')
}

/** Ports that no rule can open this way: SSH, mail, anything. Refused at once, and on record. */
function refusedPorts({names, records}: ListenerParts): Server {
  return createServer((socket) => {
    socket.on('error', () => undefined)
    const host = names.nameOf(localAddressOf(socket))
    records.writeOnce({
      kind: 'connection',
      decision: 'deny',
      reason: 'port_not_allowed',
      ...(host === undefined ? {} : {host}),
    })
    socket.resetAndDestroy()
  })
}

function explicitProxy({exchange, interceptor, records}: ListenerParts): HttpServer {
  const server = createHttpServer(httpOptions)
  const target: ConnectionTarget = {via: 'absolute', scheme: 'http', port: 0}
  serveRequests(server, exchange, records, () => target)
  server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => undefined)
    try {
      const tunnel = connectTarget(request.url ?? '', request.headers.host)
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      openTunnel(socket, head, tunnel, interceptor)
    } catch (error) {
      refuseTunnel(
        socket,
        error instanceof Denial ? error : new Denial('internal_error', {status: 500}),
        records,
      )
    }
  })
  return server
}

/** What is spoken inside decides itself: TLS, or plain HTTP as some clients tunnel it. Both end in the same exchange. */
function openTunnel(socket: Socket, head: Buffer, target: ConnectionTarget, interceptor: Interceptor): void {
  const timer = setTimeout(() => socket.destroy(), FIRST_BYTE_MS)
  socket.once('close', () => clearTimeout(timer))
  const begin = (first: Buffer) => {
    clearTimeout(timer)
    socket.pause()
    socket.unshift(first)
    if (first[0] === TLS_HANDSHAKE) {
      interceptor.secure(socket, target)
      return
    }
    interceptor.plain(socket, {...target, scheme: 'http'})
    socket.resume()
  }
  if (head.length > 0) begin(head)
  else socket.once('data', begin)
}

function refuseTunnel(socket: Socket, denial: Denial, records: Records): void {
  const requestId = newRequestId()
  const {reason, detail} = denial
  records.writeOnce({
    kind: 'connection',
    decision: 'deny',
    reason,
    requestId,
    ...(detail === undefined ? {} : {detail}),
  })
  socket.end(lastAnswer(denial, {requestId, method: 'CONNECT'}))
}
