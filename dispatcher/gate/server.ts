import type {IncomingMessage, ServerResponse} from 'node:http'
import {createServer, type Server} from 'node:https'
import {pipeline} from 'node:stream/promises'
import type {Clock} from '../../core/clock.js'
import {CageError, messageOf} from '../../core/errors.js'
import {handleHeader} from '../../core/layout.js'
import {uncached} from '../socket-api.js'
import {refuseApi} from '../github/answers.js'
import type {ApiClient} from '../github/api-client.js'
import type {ApiGateway} from '../github/gateway.js'
import {ulid} from '../wire/ulid.js'
import {forgetBody, refuseGit, refuseJson, refuseText} from './answers.js'
import type {Document, Documents} from './documents.js'
import {Denials} from './denials.js'
import {errorIn, type SocketClient} from '../socket-client.js'
import {answerLfs, refuseLfs} from './lfs.js'
import {TaskLimits} from './limits.js'
import {relayFetch} from './fetch-relay.js'
import {grantHeaders, passedHeaders, pathOf, targetOf, type GitRoute} from './passing.js'
import {accessTo, routeOf, type Route} from './route.js'
import type {UpstreamClient} from './upstream-client.js'
import type {OpenPushes} from './upstream-socket.js'

export interface GateOptions {
  /** PEM */
  certificate: string | Buffer
  /** PEM */
  key: string | Buffer
  documents: Documents
  git: SocketClient
  upstream: UpstreamClient
  github: ApiGateway
  api: ApiClient
  pushes: OpenPushes
  clock: Clock
  log: (text: string) => void
}

const IDLE_MS = 330_000
const MAX_HANDLE = 200

/** The door for tasks: TLS, who is asking, whether it is theirs; everything else is passed to the `git` container. */
export function createGate(options: GateOptions): Server {
  const gate = new Gate(options)
  const server = createServer(
    {
      ALPNProtocols: ['http/1.1'],
      cert: options.certificate,
      headersTimeout: 15_000,
      keepAliveTimeout: 75_000,
      key: options.key,
      maxHeaderSize: 16 * 1024,
      minVersion: 'TLSv1.2',
      // Pushes may take long; what stands still is cut off by the idle timeout below.
      requestTimeout: 0,
    },
    (request, response) => {
      gate.answer(request, response).catch((error: unknown) => {
        options.log(messageOf(error))
        if (response.headersSent || response.destroyed) response.destroy()
        else refuseText(response, 502, 'the dispatcher cannot serve this right now; try again later')
      })
    },
  )
  server.timeout = IDLE_MS
  server.maxConnections = 2048
  return server
}

class Gate {
  readonly #options: GateOptions
  readonly #limits: TaskLimits
  readonly #denials: Denials

  constructor(options: GateOptions) {
    this.#options = options
    this.#limits = new TaskLimits(options.clock)
    this.#denials = new Denials(options)
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = routeOf(request.method ?? '', request.url ?? '', request.headers.host)
    if (route.kind === 'unknown') {
      await forgetBody(request)
      refuseText(response, 404, 'not available through the dispatcher')
      return
    }
    const document = this.#authenticate(request)
    if (!document) {
      await this.#denials.record(request, route, {ruleId: 'handle', reason: 'no document for this handle'})
      return this.#refuse(
        request,
        response,
        route,
        403,
        'this task is not known here: it was removed, or its document has not arrived',
      )
    }
    if (route.kind === 'ready') {
      const {task, repository, branch} = document.grant
      response.writeHead(200, {...uncached, 'content-type': 'application/json'})
      response.end(`${JSON.stringify({ready: true, task, repository, branch})}\n`)
      return
    }
    if (route.kind === 'api') return this.#api(request, response, route, document)
    const {rights, repository} = accessTo(document.grant, route.repository)
    const {task} = document.grant
    if (rights === 'none') {
      const reason = `there is no repository ${route.repository} for this task`
      await this.#denials.record(request, route, {ruleId: 'repository', reason, task})
      return this.#refuse(request, response, route, 404, reason)
    }
    if (route.kind === 'lfs') return this.#lfs(request, response, {...route, repository}, document)
    const writes =
      route.kind === 'push' || (route.kind === 'advertise' && route.service === 'git-receive-pack')
    if (writes && rights === 'read') {
      const {fork} = document.grant.upstream
      const where = fork === undefined ? '' : `: branches go to the fork, git push ${fork}`
      const reason = `${route.repository} is read-only for this task${where}`
      await this.#denials.record(request, route, {ruleId: 'repository.read', reason, task})
      return this.#refuse(request, response, route, 403, reason)
    }
    await this.#serve(request, response, {...route, repository}, document)
  }

  /** @returns whether the task may have this request now; refuses it otherwise */
  async #begins(
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
    task: string,
  ): Promise<boolean> {
    const over = await this.#limits.begin(task, route.kind === 'push')
    if (!over) {
      const message = 'too many requests of this task; try again in a moment'
      await this.#refuse(request, response, route, 429, message)
      return false
    }
    response.once('close', over)
    if (!response.destroyed) return true
    // It left while it waited.
    over()
    return false
  }

  #authenticate(request: IncomingMessage): Document | undefined {
    const handles = request.headersDistinct[handleHeader] ?? []
    const [handle] = handles
    if (handles.length !== 1 || handle === undefined || handle.length > MAX_HANDLE) return undefined
    return this.#options.documents.find(handle)
  }

  async #api(
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
    {grant}: Document,
  ): Promise<void> {
    if (await this.#begins(request, response, route, grant.task))
      await this.#options.github.answer(request, response, grant)
  }

  /** Large files of an upstream, for reading. */
  async #lfs(
    request: IncomingMessage,
    response: ServerResponse,
    route: Extract<Route, {kind: 'lfs'}>,
    {grant}: Document,
  ): Promise<void> {
    const {git, clock} = this.#options
    const {repository, action} = route
    if (!(await this.#begins(request, response, route, grant.task))) return
    try {
      if (!repository.includes('/'))
        throw new CageError('the hosted repository keeps no LFS objects', {code: 'LFS_REFUSED'})
      const path = `${pathOf(repository)}/fetched`
      await git.json({method: 'POST', path, headers: grantHeaders(grant, ulid(clock.now()))})
      const use = {task: grant.task, writes: false}
      await answerLfs(this.#options, {repository, action, use}, request, response)
    } catch (error) {
      const reason = messageOf(error)
      if (error instanceof CageError && error.code === 'LFS_REFUSED')
        await this.#denials.record(request, route, {ruleId: 'lfs', reason, task: grant.task})
      else this.#options.log(reason)
      await forgetBody(request)
      refuseLfs(response, error)
    }
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    route: GitRoute,
    document: Document,
  ): Promise<void> {
    const expected = route.kind === 'fetch' ? 'git-upload-pack' : 'git-receive-pack'
    if (
      route.kind !== 'advertise' &&
      request.headers['content-type'] !== `application/x-${expected}-request`
    ) {
      await forgetBody(request)
      refuseText(response, 415, 'this is not a request that git makes')
      return
    }
    if (!(await this.#begins(request, response, route, document.grant.task))) return
    const reads =
      route.kind === 'fetch' || (route.kind === 'advertise' && route.service === 'git-upload-pack')
    if (reads && route.repository.includes('/')) await this.#relay(request, response, route, document)
    else await this.#pass(request, response, route, document)
  }

  /** A fetch from an upstream: nothing of it is read here. */
  async #relay(
    request: IncomingMessage,
    response: ServerResponse,
    route: GitRoute,
    {grant}: Document,
  ): Promise<void> {
    const {git, upstream, clock} = this.#options
    const kind = route.kind === 'advertise' ? 'advertise' : 'fetch'
    try {
      if (kind === 'fetch') {
        const path = `${pathOf(route.repository)}/fetched`
        await git.json({method: 'POST', path, headers: grantHeaders(grant, ulid(clock.now()))})
      }
      const use = {task: grant.task, writes: false}
      await relayFetch(upstream, {repository: route.repository, kind, use}, request, response)
    } catch (error) {
      if (response.headersSent || response.destroyed) response.destroy()
      else await this.#refuseFor(error, request, response, route)
    }
  }

  /** Everything else is the `git` container's work. */
  async #pass(
    request: IncomingMessage,
    response: ServerResponse,
    route: GitRoute,
    {grant}: Document,
  ): Promise<void> {
    const id = ulid(this.#options.clock.now())
    if (route.kind === 'push') response.once('close', this.#options.pushes.begin(id, route.repository, grant))
    const gone = new AbortController()
    response.once('close', () => {
      if (!response.writableFinished) gone.abort()
    })
    let answer
    try {
      answer = await this.#options.git.call({
        method: request.method ?? 'GET',
        path: targetOf(route),
        headers: {...grantHeaders(grant, id), ...passedHeaders(request)},
        ...(route.kind === 'advertise' ? {} : {body: request}),
        signal: gone.signal,
      })
    } catch (error) {
      if (gone.signal.aborted) return
      this.#options.log(messageOf(error))
      return this.#refuse(
        request,
        response,
        route,
        503,
        'the repositories cannot be reached right now; try again in a few seconds',
      )
    }
    const {status, headers, body} = answer
    if (status === 404) {
      body.resume()
      return this.#refuse(
        request,
        response,
        route,
        404,
        `there is no repository ${route.repository} for this task`,
      )
    }
    if (status === 503) return this.#refuseFor(await errorIn(body), request, response, route)
    if (status !== 200 && status !== 400) {
      body.resume()
      return this.#refuse(request, response, route, 502, 'the dispatcher failed; try again later')
    }
    response.writeHead(status, {
      ...uncached,
      'content-type': headers['content-type'] ?? 'text/plain',
    })
    await pipeline(body, response).catch(() => response.destroy())
  }

  async #refuseFor(
    error: unknown,
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
  ): Promise<void> {
    this.#options.log(messageOf(error))
    const message =
      error instanceof CageError && error.code.startsWith('UPSTREAM_')
        ? error.message
        : 'the dispatcher cannot serve this right now; try again later'
    return this.#refuse(request, response, route, 503, message)
  }

  async #refuse(
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
    status: number,
    message: string,
  ): Promise<void> {
    await forgetBody(request)
    if (response.destroyed) return
    if (route.kind === 'advertise') refuseGit(response, route.service, message)
    else if (route.kind === 'api')
      refuseApi(response, request.url === '/graphql' ? 'graphql' : 'rest', status, message)
    else if (status === 403) refuseJson(response, status, message)
    else refuseText(response, status, message)
  }
}
