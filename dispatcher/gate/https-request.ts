import {request as send, type RequestOptions} from 'node:https'
import type {IncomingMessage} from 'node:http'
import type {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'

const CONNECT_MS = 20_000

export interface SentRequest {
  answer: Promise<IncomingMessage>
  /** it went over a kept connection, which the other side may have closed in the same moment */
  reused: () => boolean
}

/** Sends with a deadline until the connection stands, and then one for silence: `idleMs`, milliseconds. */
export function sendRequest(
  options: RequestOptions,
  body: Readable | Buffer | string | undefined,
  idleMs: number,
): SentRequest {
  const request = send(options)
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject)
  })
  const late = setTimeout(() => request.destroy(new Error('no connection in time')), CONNECT_MS)
  const connected = () => clearTimeout(late)
  request.on('socket', (socket) => {
    if (socket.connecting) socket.once('secureConnect', connected)
    else connected()
  })
  request.on('close', connected)
  request.setTimeout(idleMs, () => request.destroy(new Error('it stands still')))
  if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) request.end(body)
  else pipeline(body, request).catch((error: unknown) => request.destroy(error as Error))
  return {answer, reused: () => request.reusedSocket}
}
