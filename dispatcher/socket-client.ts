import {Agent, request as send, type IncomingHttpHeaders, type IncomingMessage} from 'node:http'
import type {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {CageError, messageOf} from '../core/errors.js'
import type {ErrorAnswer} from './socket-api.js'

export interface SocketAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: IncomingMessage
}

export interface SocketCall {
  method: string
  path: string
  headers?: Record<string, string>
  body?: Readable | string
  signal?: AbortSignal
}

const forgiven = () => undefined

/** Asks the other container of the pod over its Unix socket. */
export class SocketClient {
  readonly #path: string
  readonly #other: 'gate' | 'git'
  readonly #agent = new Agent({keepAlive: true, maxSockets: 256})

  constructor(path: string, other: 'gate' | 'git') {
    this.#path = path
    this.#other = other
  }

  /** Passes bodies through as streams. @throws CageError GIT_UNREACHABLE or GATE_UNREACHABLE */
  call({method, path, headers, body, signal}: SocketCall): Promise<SocketAnswer> {
    return new Promise((resolve, reject) => {
      const request = send({
        agent: this.#agent,
        headers: {host: this.#other, ...headers},
        method,
        path,
        socketPath: this.#path,
        ...(signal ? {signal} : {}),
      })
      request.on('response', (response) =>
        resolve({status: response.statusCode ?? 500, headers: response.headers, body: response}),
      )
      // A kept connection that breaks while nobody uses it is no error: the next request opens another.
      request.on('socket', (socket) => {
        if (!socket.listeners('error').includes(forgiven)) socket.on('error', forgiven)
      })
      request.on('error', (cause) => {
        reject(
          new CageError(`the ${this.#other} container does not answer: ${messageOf(cause)}`, {
            code: `${this.#other.toUpperCase()}_UNREACHABLE`,
            hints: ['Try again in a few seconds.'],
            cause,
          }),
        )
      })
      // An answer may come before the request has ended; the pipe breaking then is no error of its own.
      if (typeof body === 'object') pipeline(body, request).catch(() => undefined)
      else request.end(body)
    })
  }

  /** A question with a JSON answer. @throws CageError with what the other container says */
  async json<T>(call: SocketCall): Promise<T> {
    const {status, body} = await this.call(call)
    if (status !== 200) throw await errorIn(body)
    return JSON.parse((await wholeBody(body)).toString() || 'null') as T
  }
}

/** What an answer that is not 200 says. */
export async function errorIn(body: AsyncIterable<Buffer>): Promise<CageError> {
  const {error} = JSON.parse((await wholeBody(body)).toString()) as ErrorAnswer
  return new CageError(error.message, {code: error.code, hints: error.hints})
}

async function wholeBody(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}
