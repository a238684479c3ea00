import type {Duplex} from 'node:stream'
import {Denial} from '../denial.js'
import {endToEnd, type Headers} from '../facts.js'
import type {Outcome} from '../forward.js'
import type {Http1Sender} from '../http1/sender.js'
import {scrubText, Scrubber, type replacementsFor} from '../scrub.js'
import {closeMessage, encodeMessage, MessageReader} from './frames.js'

export interface Tunnel {
  /** the agent's connection, its HTTP over, and what came with the request */
  socket: Duplex
  head: Buffer
}

export interface TunnelRequest {
  path: string
  /** Host included */
  headers: Headers
  /** Throws Denial for a message that must not leave. */
  judge: (payload: Buffer) => void
  replacements: ReturnType<typeof replacementsFor>
}

const LAST_WORD_MS = 1000

/** No extension: compressed frames could not be looked into. */
const ownHeaders: ReadonlySet<string> = new Set(['sec-websocket-extensions'])

/**
 * Opens a WebSocket upstream and, once it says 101, passes messages: those of the agent are judged whole and framed
 * anew, those of the server pass, values scrubbed where the host has a credential. Resolves when it is over; rejects
 * with a Denial while the agent still waits for its answer.
 */
export async function openTunnel(
  sender: Http1Sender,
  request: TunnelRequest,
  tunnel: Tunnel,
): Promise<Outcome> {
  const headers = request.headers.filter(([name]) => !ownHeaders.has(name.toLowerCase()))
  const upstream = await sender.upgrade(request.path, headers, 'websocket')
  if (upstream.status !== 101) {
    upstream.socket.destroy()
    throw new Denial('websocket_refused', {status: 502, failed: true, detail: `status ${upstream.status}`})
  }
  const lines = endToEnd(upstream.headers)
    .filter(([name]) => !ownHeaders.has(name.toLowerCase()))
    .map(
      ([name, value]) =>
        `${name}: ${request.replacements ? scrubText(value, request.replacements) : value}\r\n`,
    )
  tunnel.socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${lines.join('')}\r\n`,
    'latin1',
  )
  return pass(upstream.socket, request, tunnel)
}

function pass(
  upstream: Duplex,
  {judge, replacements}: TunnelRequest,
  {socket, head}: Tunnel,
): Promise<Outcome> {
  const outcome: Outcome = {status: 101, bytesUp: 0, bytesDown: 0}
  const fromAgent = new MessageReader(true)
  const fromServer = replacements && new MessageReader(false)

  const forwardUp = (chunk: Buffer) => {
    for (const message of fromAgent.push(chunk)) {
      judge(message.payload)
      outcome.bytesUp += message.payload.length
      write(socket, upstream, encodeMessage(message, true))
    }
  }
  const forwardDown = (chunk: Buffer) => {
    outcome.bytesDown += chunk.length
    if (!fromServer) {
      write(upstream, socket, chunk)
      return
    }
    for (const message of fromServer.push(chunk)) {
      const scrubber = new Scrubber(replacements)
      const payload = Buffer.concat([scrubber.push(message.payload), scrubber.end()])
      write(upstream, socket, encodeMessage({...message, payload}, false))
    }
  }
  return new Promise((resolve) => {
    let ended = false
    const end = () => {
      socket.destroy()
      upstream.destroy()
      if (!ended) resolve(outcome)
      ended = true
    }
    const guarded = (act: (chunk: Buffer) => void) => (chunk: Buffer) => {
      if (ended) return
      try {
        act(chunk)
      } catch (error) {
        ended = true
        const reason = error instanceof Denial ? error.reason : 'internal_error'
        upstream.end(encodeMessage(closeMessage('cage'), true))
        socket.end(encodeMessage(closeMessage(`cage_denied: ${reason}`), false))
        // Both sides get their last word before they are cut.
        setTimeout(end, LAST_WORD_MS).unref()
        resolve({...outcome, failure: error as Error})
      }
    }
    socket.on('error', () => end()).on('close', () => end())
    upstream.on('error', () => end()).on('close', () => end())
    socket.on('end', () => upstream.end())
    upstream.on('end', () => socket.end())
    upstream.on('data', guarded(forwardDown))
    socket.on('data', guarded(forwardUp))
    upstream.resume()
    if (head.length > 0) guarded(forwardUp)(head)
  })
}

/** With backpressure: the sender waits while the receiver is full. */
function write(from: Duplex, to: Duplex, bytes: Buffer): void {
  if (to.write(bytes)) return
  from.pause()
  to.once('drain', () => from.resume())
}
