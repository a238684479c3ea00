import type {Agent} from 'node:https'
import type {IncomingHttpHeaders, IncomingMessage} from 'node:http'
import {CageError, messageOf} from '../../core/errors.js'
import type {HostWay} from '../gate/connections.js'
import {sendRequest, type SentRequest} from '../gate/https-request.js'

/** Kept connections by way; whoever gives them out guards the addresses. */
export type AgentOf = (way: HostWay) => Agent

export interface ApiRequest {
  method: string
  /** path and query */
  target: string
  headers?: Readonly<Record<string, string>>
  body?: string
  signal?: AbortSignal
}

export interface ApiAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

const IDLE_MS = 60_000
const MAX_ANSWER = 32 * 1024 * 1024

/** HTTPS to GitHub's API and to the hosts that its files lie on. Adds nothing by itself. */
export class ApiClient {
  readonly #agentOf: AgentOf
  readonly #wayTo: (host: string) => HostWay

  constructor(agentOf: AgentOf, wayTo: (host: string) => HostWay) {
    this.#agentOf = agentOf
    this.#wayTo = wayTo
  }

  /** The whole answer. Errors: GITHUB_UNREACHABLE, GITHUB_ANSWER_TOO_LARGE */
  async ask(host: string, request: ApiRequest): Promise<ApiAnswer> {
    const answer = await this.open(host, request)
    const chunks: Buffer[] = []
    let bytes = 0
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        bytes += chunk.length
        if (bytes > MAX_ANSWER) {
          answer.destroy()
          throw new CageError('the answer of GitHub is too large', {code: 'GITHUB_ANSWER_TOO_LARGE'})
        }
        chunks.push(chunk)
      }
    } catch (cause) {
      throw cause instanceof CageError ? cause : unreachable(cause, true)
    }
    return {status: answer.statusCode ?? 502, headers: answer.headers, body: Buffer.concat(chunks)}
  }

  /** The answer with its body still to be read. Errors: GITHUB_UNREACHABLE */
  async open(host: string, request: ApiRequest): Promise<IncomingMessage> {
    for (let attempt = 0; ; attempt++) {
      const {answer, reused} = this.#send(host, request)
      try {
        return await answer
      } catch (cause) {
        // A kept connection that the other side closed in this moment: what only reads may simply be asked again.
        if (reused() && attempt === 0 && request.method === 'GET' && request.signal?.aborted !== true)
          continue
        throw unreachable(cause, request.method !== 'GET')
      }
    }
  }

  #send(host: string, {method, target, headers, body, signal}: ApiRequest): SentRequest {
    const way = this.#wayTo(host)
    const options = {
      agent: this.#agentOf(way),
      headers: {
        host,
        'user-agent': 'cage',
        ...headers,
        ...(body === undefined ? {} : {'content-length': String(Buffer.byteLength(body))}),
      },
      host: way.address ?? way.host,
      method,
      path: target,
      port: way.port,
      ...(signal ? {signal} : {}),
    }
    return sendRequest(options, body, IDLE_MS)
  }
}

function unreachable(cause: unknown, mayHaveHappened: boolean): CageError {
  const then = mayHaveHappened ? 'look whether it happened before you try again' : 'try again later'
  return new CageError(`GitHub cannot be reached right now (${messageOf(cause)}); ${then}`, {
    code: 'GITHUB_UNREACHABLE',
  })
}
