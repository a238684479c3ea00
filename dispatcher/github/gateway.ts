import type {IncomingMessage, ServerResponse} from 'node:http'
import {CageError, messageOf} from '../../core/errors.js'
import {githubRepository, pushedRepository, type GithubRepository} from '../../policy/github-repository.js'
import type {GitGrant} from '../../policy/grant.js'
import {Bucket} from '../gate/limits.js'
import {ulid} from '../wire/ulid.js'
import {passedHeaders, refuseApi} from './answers.js'
import type {ApiAnswer, ApiClient, ApiRequest} from './api-client.js'
import {apiHost} from './app-tokens.js'
import {ApiDenied} from './denied.js'
import type {OwnRepository} from './document.js'
import {relayFile} from './files.js'
import type {GithubIdentity} from './identity.js'
import {ApiJudge, type Asking, type Judged, type JudgeOptions} from './judge.js'
import type {AskGithub} from './lookups.js'

export interface ApiGatewayOptions extends Omit<JudgeOptions, 'isPerson'> {
  api: ApiClient
  /** Errors: UPSTREAM_UNKNOWN when nobody has said who the dispatcher is */
  identity: () => GithubIdentity
  /** resolves when the record is on disk */
  record: (entry: Record<string, unknown>) => Promise<void>
}

/** What all records of one request share. */
type Common = Record<string, unknown>

const MAX_BODY = 1024 * 1024
const MAX_DRAINED = 16 * MAX_BODY
const HIDDEN = '(hidden)'
const REFUSALS = 500
const REFUSALS_PER_SECOND = 0.2

/** GitHub's API for tasks: what is allowed is built anew and sent with the task's own token, everything else denied. */
export class ApiGateway {
  readonly #options: ApiGatewayOptions
  readonly #judge: ApiJudge
  readonly #refusals = new Map<string, Bucket>()

  constructor(options: ApiGatewayOptions) {
    this.#options = options
    this.#judge = new ApiJudge({...options, isPerson: () => options.identity().isPerson})
  }

  async answer(request: IncomingMessage, response: ServerResponse, grant: GitGrant): Promise<void> {
    const {method = '', url: target = '', headers} = request
    const kind = target === '/graphql' ? 'graphql' : 'rest'
    const {task, repository, revision} = grant
    const id = ulid(this.#options.clock.now())
    const common = {op: kind, request: id, task, repository, policyRev: revision}
    try {
      const body = await bodyOf(request)
      const own = githubRepository(grant.upstream)
      if (!own || !grant.github)
        throw new ApiDenied(
          'github.closed',
          'the upstream of this project is not GitHub, so its API is closed',
          404,
        )
      const asking = {grant, rights: grant.github, task: ownRepository(grant, own)}
      const judged = await this.#judge.judge(asking, {method, target, headers, body}, this.#asker(asking))
      await this.#send(asking, judged, common, response)
    } catch (error) {
      const {status, message, record} = this.#refusal(error)
      const path = target.split('?')[0]?.slice(0, 200)
      if (this.#isOnRecord(task))
        await this.#record({phase: 'decision', ...common, ...record, method: method.slice(0, 10), path})
      if (response.headersSent || response.destroyed) response.destroy()
      else refuseApi(response, kind, status, message)
    }
  }

  async #send(asking: Asking, judged: Judged, common: Common, response: ServerResponse): Promise<void> {
    const {writes, request, file, user, about} = judged
    const recorded = this.#options.record({phase: 'decision', ...common, decision: 'allow', ...about})
    // A change waits until it is on record; a reader waits only for the answer.
    if (writes) await recorded
    recorded.catch(() => undefined)
    const gone = new AbortController()
    response.once('close', () => {
      if (!response.writableFinished && !writes) gone.abort()
    })
    const signed = {...request, signal: gone.signal}
    if (file) {
      await recorded
      const token = await this.#token(asking)
      return relayFile(this.#options.api, withToken(signed, token), response).catch((error: unknown) => {
        if (error instanceof CageError && error.code === 'GITHUB_CREDENTIAL_REFUSED')
          this.#options.identity().refused(token)
        throw error
      })
    }
    let answer: ApiAnswer
    try {
      answer = await this.#ask(asking, signed)
    } catch (error) {
      if (writes) await this.#record({phase: 'outcome', ...common, decision: 'unknown'})
      throw error
    }
    await recorded
    const {status, headers} = answer
    if (writes) {
      const decision = status < 400 ? 'allow' : 'upstream-reject'
      // The answer does not wait: that it was sent is on disk, and a crash before this line looks like one before the answer.
      void this.#record({phase: 'outcome', ...common, decision, status})
    }
    const body = user ? userOf(answer) : this.#clean(answer.body)
    const length = status === 304 ? {} : {'content-length': String(body.length)}
    response.writeHead(status, {...passedHeaders(headers, request.target), ...length})
    response.end(status === 304 ? undefined : body)
  }

  /** With the task's token; once more with a new one when GitHub no longer takes it. */
  async #ask(asking: Asking, request: ApiRequest): Promise<ApiAnswer> {
    for (let attempt = 0; ; attempt++) {
      const token = await this.#token(asking)
      const answer = await this.#options.api.ask(apiHost, withToken(request, token))
      if (answer.status !== 401) return answer
      if (attempt === 0 && this.#options.identity().refused(token)) continue
      throw new CageError(
        'GitHub does not accept the credential of this project: a person has to look at it',
        {
          code: 'GITHUB_CREDENTIAL_REFUSED',
        },
      )
    }
  }

  /** The dispatcher's own questions about what a request names. */
  #asker(asking: Asking): AskGithub {
    return async (target, body) => {
      const {status, body: answer} = await this.#ask(asking, {
        method: body === undefined ? 'GET' : 'POST',
        target,
        headers: {accept: 'application/vnd.github+json', 'content-type': 'application/json'},
        ...(body === undefined ? {} : {body: JSON.stringify(body)}),
      })
      if (status === 404 || status === 410) return undefined
      if (status === 200) return JSON.parse(answer.toString()) as unknown
      throw new CageError(`GitHub answered a question of cage with status ${status}; try again later`, {
        code: 'GITHUB_FAILED',
      })
    }
  }

  #token({grant, rights, task}: Asking): Promise<string> {
    const {writes} = rights
    return this.#options.identity().apiToken({task: grant.task, repository: task.name, writes})
  }

  /** So many refusals of each task that none pushes older records out of the journal. */
  #isOnRecord(task: string): boolean {
    const bucket = this.#refusals.get(task) ?? new Bucket(REFUSALS, REFUSALS_PER_SECOND, this.#options.clock)
    this.#refusals.set(task, bucket)
    return bucket.take()
  }

  /** A denial stands whether or not it could be recorded. */
  async #record(entry: Record<string, unknown>): Promise<void> {
    await this.#options.record(entry).catch((error: unknown) => {
      this.#options.log(messageOf(error))
    })
  }

  #refusal(error: unknown): {status: number; message: string; record: Record<string, unknown>} {
    if (error instanceof ApiDenied) {
      const {status, message, ruleId} = error
      return {status, message, record: {decision: 'deny', ruleId: [ruleId], reason: [message]}}
    }
    const text = this.#clean(Buffer.from(messageOf(error))).toString()
    this.#options.log(text)
    const known = error instanceof CageError && /^(?:GITHUB|UPSTREAM)_/.test(error.code)
    const message = known ? text : 'the dispatcher cannot serve this right now; try again later'
    return {status: 502, message, record: {decision: 'error', reason: [message]}}
  }

  /** Without anything that the dispatcher holds: what GitHub says could quote it. */
  #clean(text: Buffer): Buffer {
    let secrets: readonly string[] = []
    try {
      secrets = this.#options.identity().secrets()
    } catch {
      // Nobody has said yet who the dispatcher is: then it holds nothing.
    }
    if (!secrets.some((secret) => text.includes(secret))) return text
    return Buffer.from(secrets.reduce((clean, secret) => clean.replaceAll(secret, HIDDEN), text.toString()))
  }
}

function ownRepository({branch, base, upstream}: GitGrant, own: GithubRepository): OwnRepository {
  const fork = upstream.fork === undefined ? undefined : pushedRepository(upstream)
  return {...own, branch, base, ...(fork ? {fork} : {})}
}

/** `GET /user`, which GitHub does not answer for apps. */
function userOf({body}: ApiAnswer): Buffer {
  const {data} = JSON.parse(body.toString()) as {data?: {viewer?: Record<string, unknown>} | null}
  const {__typename: type = 'Bot', login, id, databaseId} = data?.viewer ?? {}
  return Buffer.from(JSON.stringify({login, id: databaseId, node_id: id, type}))
}

function withToken(request: ApiRequest, token: string): ApiRequest {
  return {...request, headers: {...request.headers, authorization: `Bearer ${token}`}}
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  // The connection stays: whoever sent too much still reads the answer.
  for await (const chunk of request.iterator({destroyOnReturn: false}) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= MAX_BODY) chunks.push(chunk)
    if (bytes > MAX_DRAINED) break
  }
  if (bytes > MAX_BODY) throw new ApiDenied('github.body', 'the body is too large', 413)
  const given = Buffer.concat(chunks)
  const text = given.toString('utf8')
  if (!Buffer.from(text).equals(given)) throw new ApiDenied('github.body', 'the body is not UTF-8', 400)
  return text
}
