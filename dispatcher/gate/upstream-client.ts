import type {IncomingMessage} from 'node:http'
import {pipeline, type Readable} from 'node:stream'
import {CageError, messageOf} from '../../core/errors.js'
import type {Connections} from './connections.js'
import type {CredentialUse} from './credential.js'
import {sendRequest, type SentRequest} from './https-request.js'
import {shownBy, unrepeated} from './unrepeated.js'
import type {Upstream, Upstreams} from './upstreams.js'

const IDLE_MS = 300_000

export interface UpstreamCall {
  method: 'GET' | 'POST'
  /** behind the repository's path, e.g. `/info/refs?service=git-upload-pack` */
  target: string
  headers?: Record<string, string>
  body?: Readable | Buffer
  use: CredentialUse
  /** read here as a whole before anything of it is passed on, so it may repeat the credential: Gitea does, in its answers about LFS objects */
  staysHere?: true
  /** another place on the upstream's host, with what it takes there instead of the credential */
  elsewhere?: {path: string; authorization?: string}
  signal?: AbortSignal
}

/** Requests of git to upstreams, with the credential added at the last moment. */
export class UpstreamClient {
  readonly #upstreams: Upstreams
  readonly #connections: Connections

  constructor(upstreams: Upstreams, connections: Connections) {
    this.#upstreams = upstreams
    this.#connections = connections
  }

  /**
   * The body of an answer with status 200, still to be read; it ends with UPSTREAM_ANSWER where it repeats the credential.
   * Errors: UPSTREAM_UNKNOWN, UPSTREAM_UNREACHABLE, UPSTREAM_REFUSED, UPSTREAM_NOT_FOUND, UPSTREAM_FAILED, without secrets.
   */
  async ask(name: string, call: UpstreamCall): Promise<Readable> {
    const upstream = await this.#upstreams.get(name)
    let {answer, authorization} = await this.#send(upstream, call)
    if (answer.statusCode === 401 && call.body === undefined) {
      const challenge = answer.headers['www-authenticate'] ?? ''
      if (upstream.credential?.refused(challenge) === true) {
        answer.resume()
        ;({answer, authorization} = await this.#send(upstream, call))
      }
    }
    // Whoever reads it hears of an error there.
    if (answer.statusCode === 200)
      return call.staysHere ? answer : pipeline(answer, unrepeated(shownBy(authorization)), () => undefined)
    answer.destroy()
    throw failure(upstream, answer.statusCode ?? 0)
  }

  async #send(
    upstream: Upstream,
    call: UpstreamCall,
  ): Promise<{answer: IncomingMessage; authorization: string | undefined}> {
    const authorization =
      call.elsewhere?.authorization ?? (await upstream.credential?.authorization(call.use))
    for (let attempt = 0; ; attempt++) {
      const {answer, reused} = this.#once(upstream, call, authorization)
      try {
        return {answer: await answer, authorization}
      } catch (cause) {
        // A kept connection that the server closed in this moment: what has no body may simply be asked again.
        if (reused() && attempt === 0 && call.body === undefined && call.signal?.aborted !== true) continue
        throw new CageError(
          `the upstream ${upstream.host} cannot be reached right now: ${this.#upstreams.redact(messageOf(cause))}`,
          {code: 'UPSTREAM_UNREACHABLE'},
        )
      }
    }
  }

  #once(
    upstream: Upstream,
    {method, target, headers, body, elsewhere, signal}: UpstreamCall,
    authorization: string | undefined,
  ): SentRequest {
    const options = {
      agent: this.#connections.agentOf(upstream),
      headers: {
        host: upstream.name.split('/')[0],
        'user-agent': 'git/cage',
        ...headers,
        ...(authorization === undefined ? {} : {authorization}),
      },
      host: upstream.address ?? upstream.host,
      method,
      path: elsewhere?.path ?? `${upstream.path}${target}`,
      port: upstream.port,
      ...(signal ? {signal} : {}),
    }
    return sendRequest(options, body, IDLE_MS)
  }
}

function failure({host, credential}: Upstream, status: number): CageError {
  if (status === 401 || status === 403) {
    const why = credential
      ? 'does not accept the credential of this project'
      : 'asks for a credential, and this project names none'
    return new CageError(
      `the upstream ${host} ${why} (status ${status}): a person has to look at \`repository.credential\``,
      {
        code: 'UPSTREAM_REFUSED',
      },
    )
  }
  if (status === 404)
    return new CageError(`the upstream ${host} has no such repository, or does not show it`, {
      code: 'UPSTREAM_NOT_FOUND',
    })
  if (status >= 300 && status < 400)
    return new CageError(`the upstream ${host} sends elsewhere: a person has to write the new address`, {
      code: 'UPSTREAM_FAILED',
    })
  return new CageError(`the upstream ${host} failed with status ${status}; try again later`, {
    code: 'UPSTREAM_FAILED',
  })
}
