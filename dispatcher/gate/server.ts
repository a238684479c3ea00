import type {IncomingMessage, ServerResponse} from 'node:http'
import {createServer, type Server} from 'node:https'
import {pipeline} from 'node:stream/promises'
import type {Clock} from '../../core/clock.js'
import {messageOf} from '../../core/errors.js'
import {handleHeader} from '../../core/layout.js'
import {grantHeader, requestHeader, uncached, type GitService} from '../socket-api.js'
import {ulid} from '../wire/ulid.js'
import {forgetBody, refuseGit, refuseJson, refuseText} from './answers.js'
import type {Document, Documents} from './documents.js'
import type {GitClient} from './git-client.js'
import {TaskLimits} from './limits.js'
import {accessTo, routeOf, type Route} from './route.js'

export interface GateOptions {
  /** PEM */
  certificate: string | Buffer
  /** PEM */
  key: string | Buffer
  documents: Documents
  git: GitClient
  clock: Clock
  log: (text: string) => void
}

type GitRoute = Exclude<Route, {kind: 'ready' | 'unknown'}>

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

  constructor(options: GateOptions) {
    this.#options = options
    this.#limits = new TaskLimits(options.clock)
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
      await this.#recordDenial(request, route, 'no document for this handle')
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
    const access = accessTo(document.grant, route.repository)
    if (access === 'none')
      return this.#refuse(
        request,
        response,
        route,
        404,
        `there is no repository ${route.repository} for this task`,
      )
    if (route.kind === 'lfs') {
      await forgetBody(request)
      refuseJson(response, 403, 'Git LFS is not allowed here', 'application/vnd.git-lfs+json')
      return
    }
    const writes =
      route.kind === 'push' || (route.kind === 'advertise' && route.service === 'git-receive-pack')
    if (writes && access === 'read')
      return this.#refuse(request, response, route, 403, `${route.repository} is read-only for this task`)
    await this.#pass(request, response, route, document)
  }

  #authenticate(request: IncomingMessage): Document | undefined {
    const handles = request.headersDistinct[handleHeader] ?? []
    const [handle] = handles
    if (handles.length !== 1 || handle === undefined || handle.length > MAX_HANDLE) return undefined
    return this.#options.documents.find(handle)
  }

  async #pass(
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
    const over = this.#limits.begin(document.grant.task, route.kind === 'push')
    if (!over)
      return this.#refuse(
        request,
        response,
        route,
        429,
        'too many requests of this task; try again in a moment',
      )
    response.once('close', over)
    const gone = new AbortController()
    response.once('close', () => {
      if (!response.writableFinished) gone.abort()
    })
    let answer
    try {
      answer = await this.#options.git.call({
        method: request.method ?? 'GET',
        path: pathOf(route),
        headers: passedHeaders(request, document, this.#options.clock),
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
    else if (status === 403) refuseJson(response, status, message)
    else refuseText(response, status, message)
  }

  /** A denial stands whether or not it could be recorded. */
  async #recordDenial(request: IncomingMessage, route: Route, reason: string): Promise<void> {
    if (!this.#limits.denials.take()) return
    const record = {
      phase: 'decision',
      op: 'authenticate',
      decision: 'deny',
      ruleId: ['handle'],
      reason: [reason],
      route: route.kind,
      podIp: request.socket.remoteAddress,
    }
    await this.#options.git
      .json({method: 'POST', path: '/journal', body: JSON.stringify(record)})
      .catch((error: unknown) => {
        this.#options.log(messageOf(error))
      })
  }
}

function pathOf(route: GitRoute): string {
  const service: GitService = route.kind === 'fetch' ? 'git-upload-pack' : 'git-receive-pack'
  return route.kind === 'advertise'
    ? `/repository/${route.repository}/info/refs?service=${route.service}`
    : `/repository/${route.repository}/${service}`
}

/** Only what is named here goes on. */
function passedHeaders(request: IncomingMessage, {grant}: Document, clock: Clock): Record<string, string> {
  const passed: Record<string, string> = {
    [grantHeader]: Buffer.from(JSON.stringify(grant)).toString('base64'),
    [requestHeader]: ulid(clock.now()),
  }
  for (const name of ['content-encoding', 'content-length', 'git-protocol'] as const) {
    const value = request.headers[name]
    if (typeof value === 'string') passed[name] = value
  }
  return passed
}
