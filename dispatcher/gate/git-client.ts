import {Agent, request as send, type IncomingHttpHeaders, type IncomingMessage} from 'node:http'
import type {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {CageError, messageOf} from '../../core/errors.js'
import type {ErrorAnswer} from '../socket-api.js'

export interface GitAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: IncomingMessage
}

export interface GitCall {
  method: string
  path: string
  headers?: Record<string, string>
  body?: Readable | string
  signal?: AbortSignal
}

/** Asks the `git` container over the Unix socket. */
export class GitClient {
  readonly #path: string
  readonly #agent = new Agent({keepAlive: true, maxSockets: 256})

  constructor(path: string) {
    this.#path = path
  }

  /** Passes bodies through as streams. @throws CageError GIT_UNREACHABLE */
  call({method, path, headers, body, signal}: GitCall): Promise<GitAnswer> {
    return new Promise((resolve, reject) => {
      const request = send({
        agent: this.#agent,
        headers: {host: 'git', ...headers},
        method,
        path,
        socketPath: this.#path,
        ...(signal ? {signal} : {}),
      })
      request.on('response', (response) =>
        resolve({status: response.statusCode ?? 500, headers: response.headers, body: response}),
      )
      request.on('error', (cause) => {
        reject(
          new CageError(`the git container does not answer: ${messageOf(cause)}`, {
            code: 'GIT_UNREACHABLE',
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

  /** A question with a JSON answer. @throws CageError with what the git container says */
  async json<T>(call: GitCall): Promise<T> {
    const {status, body} = await this.call(call)
    const chunks: Buffer[] = []
    for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk)
    const answer = JSON.parse(Buffer.concat(chunks).toString() || 'null') as T | ErrorAnswer
    if (status === 200) return answer as T
    const {error} = answer as ErrorAnswer
    throw new CageError(error.message, {code: error.code, hints: error.hints})
  }
}
