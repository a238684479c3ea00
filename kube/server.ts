import {setTimeout as sleep} from 'node:timers/promises'
import {fetch, type Dispatcher, type Response} from 'undici'
import {CageError} from '../core/errors.js'
import {answerError, causeCode, connectionError, interrupted} from './errors.js'

/** How to reach one API server; made by connect.ts from a kubeconfig. */
export interface Access {
  /** URL without trailing slash, e.g. `https://10.254.9.2:6443` */
  server: string
  /** authorization headers and TLS settings, fresh for each request */
  credentials(): Promise<{headers: Record<string, string>; dispatcher: Dispatcher | undefined}>
}

export interface ServerRequest {
  /** what it is for, in words, for errors: `read Pod shop/task-a` */
  purpose: string
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  path: string
  query?: Readonly<Record<string, string>>
  body?: unknown
  contentType?: string
  /** the same request twice changes nothing: tried again for a few seconds */
  repeatable?: boolean
  /** answers with these codes are returned like 2xx */
  accept?: readonly number[]
  /** never quote the server's sentence: it may hold a value */
  secret?: boolean
  /** milliseconds until the answer begins; default 30 s */
  timeoutMs?: number
  signal?: AbortSignal | undefined
}

const ATTEMPTS = 6
/** an API server that is down is said to be so after less than a second */
const ATTEMPTS_REFUSED = 3
const TIMEOUT_MS = 30_000

/** Requests to one API server: authentication, deadlines, repetition, errors for people. */
export class ApiServer {
  private readonly access: Access

  constructor(access: Access) {
    this.access = access
  }

  get address(): string {
    return this.access.server
  }

  /** The whole answer; its shape is the caller's claim about the API. */
  async json(request: ServerRequest): Promise<{status: number; body: unknown}> {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.open(request)
        const text = await response.text().catch((cause: unknown) => {
          throw this.failure(request, cause)
        })
        return {status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as unknown}
      } catch (error) {
        if (!request.repeatable || attempt >= attemptsFor(error)) throw error
        await sleep(100 * 2 ** attempt, undefined, request.signal ? {signal: request.signal} : {}).catch(
          () => {
            throw interrupted(request.purpose)
          },
        )
      }
    }
  }

  /** One attempt; resolves when the answer begins. The caller reads or cancels its body. */
  async open(request: ServerRequest): Promise<Response> {
    const url = new URL(this.access.server + request.path)
    for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.set(name, value)
    // Only the start of the answer has a deadline: logs and watches stay open.
    const late = new AbortController()
    const timeoutMs = request.timeoutMs ?? TIMEOUT_MS
    const timer = setTimeout(() => late.abort(), timeoutMs)
    try {
      const {headers, dispatcher} = await this.access.credentials()
      const response = await fetch(url, {
        method: request.method,
        headers: {
          ...headers,
          accept: 'application/json, */*;q=0.5',
          ...(request.body === undefined ? {} : {'content-type': request.contentType ?? 'application/json'}),
        },
        redirect: 'error',
        signal: request.signal ? AbortSignal.any([request.signal, late.signal]) : late.signal,
        ...(request.body === undefined ? {} : {body: JSON.stringify(request.body)}),
        ...(dispatcher ? {dispatcher} : {}),
      })
      if (response.ok || request.accept?.includes(response.status)) return response
      const body = await response.text().catch(() => '')
      throw answerError(request.purpose, response.status, body, request.secret)
    } catch (error) {
      const noAnswer = new Error(`no answer within ${Math.round(timeoutMs / 1000)} s`)
      throw this.failure(request, late.signal.aborted && !request.signal?.aborted ? noAnswer : error)
    } finally {
      clearTimeout(timer)
    }
  }

  failure(request: Pick<ServerRequest, 'purpose' | 'signal'>, error: unknown): CageError {
    if (error instanceof CageError) return error
    if (request.signal?.aborted) return interrupted(request.purpose)
    return connectionError(request.purpose, this.access.server, error)
  }
}

/** How often a failure is worth trying: some pass by themselves when the API server restarts or is overloaded. */
function attemptsFor(error: unknown): number {
  if (!(error instanceof CageError)) return 1
  if (error.code === 'CLUSTER_UNAVAILABLE') return ATTEMPTS
  if (error.code !== 'CLUSTER_UNREACHABLE') return 1
  switch (causeCode(error)) {
    case 'ECONNRESET':
    case 'EPIPE':
    case 'UND_ERR_SOCKET':
      return ATTEMPTS
    case 'ECONNREFUSED':
      return ATTEMPTS_REFUSED
    default:
      return 1
  }
}
