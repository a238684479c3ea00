import {chmod, rm} from 'node:fs/promises'
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http'
import {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import type {GitGrant} from '../../policy/grant.js'
import {grantHeader, requestHeader, uncached, type ErrorAnswer, type RefsAnswer} from '../socket-api.js'
import {flush, FramingError, packet, PacketReader} from '../wire/pkt-line.js'
import {plain} from '../wire/text.js'
import {bodyOf, bytesOf, forget} from './body.js'
import {receiveAdvertisement, uploadPack} from './fetch.js'
import {answerJson} from './json-routes.js'
import {Places} from './locks.js'
import {ORIGIN} from './mirrors.js'
import type {Repository} from './repositories.js'
import type {GitService} from './service.js'

const MAX_FETCH_REQUEST = 64 * 1024 * 1024
const MAX_JSON = 1024 * 1024
const FETCHES_AT_ONCE = 32

/** The socket on which `gate` asks. Whoever can open it is trusted: only the two containers mount its directory. */
export async function serveGate(
  service: GitService,
  path: string,
  log: (text: string) => void,
): Promise<Server> {
  const routes = new GateRoutes(service)
  const server = createServer({maxHeaderSize: 512 * 1024, keepAliveTimeout: 60_000}, (request, response) => {
    routes.answer(request, response).catch(async (error: unknown) => {
      // An answer over unread bytes would close the connection, and take the answer with it.
      await forget(request)
      fail(response, error, log)
    })
  })
  // Large uploads and long scans are normal here; gate watches for idle connections.
  server.requestTimeout = 0
  server.timeout = 0
  await rm(path, {force: true})
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  // The two containers run as different users.
  await chmod(path, 0o666)
  return server
}

class GateRoutes {
  readonly #service: GitService
  readonly #fetchPlaces = new Places(FETCHES_AT_ONCE)

  constructor(service: GitService) {
    this.#service = service
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://git')
    const [, area = '', encoded = '', ...action] = url.pathname.split('/')
    const name = decodeURIComponent(encoded)
    const route = `${request.method ?? ''} ${area}/${action.join('/')}`
    switch (route) {
      case 'GET health/': {
        json(response, 200, {ready: true})
        return
      }
      case 'GET repository/info/refs':
        return this.#advertise(name, url.searchParams.get('service'), request, response)
      case 'POST repository/git-upload-pack':
        return this.#fetch(name, request, response)
      case 'POST repository/git-receive-pack':
        return this.#push(name, request, response)
      case 'POST repository/fetched': {
        await this.#service.fetches.begin(grantOf(request), name, requestOf(request))
        json(response, 200, {})
        return
      }
      case 'GET repository/refs': {
        json(response, 200, await this.#refs(name))
        return
      }
      case 'GET journal/':
        return this.#journal(url.searchParams, response)
      default: {
        const result = await answerJson(this.#service, route, name, () => bytesOf(request, MAX_JSON))
        json(response, result === undefined ? 404 : 200, result ?? errorAnswer('NOT_FOUND', 'no such route'))
      }
    }
  }

  async #advertise(
    name: string,
    service: string | null,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (service === 'git-receive-pack') {
      const refs = await this.#receiveAdvertisement(name, grantOf(request))
      head(response, 'application/x-git-receive-pack-advertisement')
      response.end(Buffer.concat([packet('# service=git-receive-pack\n'), flush, refs]))
      return
    }
    const repository = await this.#repository(name)
    head(response, 'application/x-git-upload-pack-advertisement')
    const protocol = oneHeader(request, 'git-protocol')
    await uploadPack(this.#service.git, {
      repository,
      mode: 'advertise',
      protocol,
      output: response,
      signal: goneSignal(response),
    })
  }

  async #receiveAdvertisement(name: string, grant: GitGrant): Promise<Buffer> {
    if (name.includes('/')) {
      const {refs, format, origin} = await this.#service.mirrors.offer(name, grant)
      return receiveAdvertisement(refs, format, origin)
    }
    const repository = await this.#repository(name)
    return receiveAdvertisement(await this.#service.repositories.refs(repository), repository.format)
  }

  async #refs(name: string): Promise<RefsAnswer> {
    const {repositories, mirrors} = this.#service
    if (name.includes('/')) {
      const known = await repositories.find(name)
      const before = known ? await repositories.refs(known) : new Map<string, string>()
      const originBefore = known ? await repositories.refs(known, [ORIGIN]) : new Map<string, string>()
      const {repository, refs, head, origin} = await mirrors.refresh(name, 'git-upload-pack')
      const defaultRef = head ?? (await repositories.defaultRef(repository))
      return {
        repository: name,
        head: defaultRef,
        refs: Object.fromEntries(refs),
        before: Object.fromEntries(before),
        ...(origin
          ? {
              origin: {
                head: origin.head ?? defaultRef,
                refs: Object.fromEntries(origin.refs),
                before: Object.fromEntries(
                  [...originBefore].map(([ref, id]) => [ref.replace(ORIGIN, 'refs/'), id]),
                ),
              },
            }
          : {}),
      }
    }
    const repository = await this.#repository(name)
    const refs = Object.fromEntries(await repositories.refs(repository))
    return {repository: repository.name, head: await repositories.defaultRef(repository), refs}
  }

  async #fetch(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const repository = await this.#repository(name)
    const record = await this.#service.fetches.begin(grantOf(request), repository.name, requestOf(request))
    await this.#fetchPlaces.use(async () => {
      head(response, 'application/x-git-upload-pack-result')
      const bytes = await uploadPack(this.#service.git, {
        repository,
        mode: 'stateless',
        protocol: oneHeader(request, 'git-protocol'),
        input: bodyOf(request, MAX_FETCH_REQUEST),
        output: response,
        signal: goneSignal(response),
      })
      record.sent(bytes)
    })
  }

  async #push(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const repository = await this.#repository(name)
    const grant = grantOf(request)
    head(response, 'application/x-git-receive-pack-result')
    await this.#service.push.receive({
      request: requestOf(request),
      grant,
      repository,
      input: new PacketReader(bodyOf(request, 3 * grant.push.limits.packBytes)),
      output: response,
      stateful: false,
      signal: goneSignal(response),
      taskRefs: new Map(),
    })
  }

  async #journal(query: URLSearchParams, response: ServerResponse): Promise<void> {
    const [since, task] = [query.get('since'), query.get('task')]
    const lines = this.#service.journal.read({
      ...(since === null ? {} : {since}),
      ...(task === null ? {} : {task}),
      follow: query.has('follow'),
      signal: goneSignal(response),
    })
    response.writeHead(200, {'content-type': 'application/jsonl'})
    response.flushHeaders()
    await pipeline(Readable.from(ended(lines)), response)
  }

  async #repository(name: string): Promise<Repository> {
    const repository = await this.#service.repositories.find(name)
    if (repository) return repository
    throw new CageError('no such repository', {code: 'REPOSITORY_NOT_FOUND', exitCode: ExitCode.notFound})
  }
}

async function* ended(lines: AsyncIterable<string>): AsyncGenerator<string, void, void> {
  for await (const line of lines) yield `${line}\n`
}

function grantOf(request: IncomingMessage): GitGrant {
  return JSON.parse(Buffer.from(oneHeader(request, grantHeader) ?? '', 'base64').toString()) as GitGrant
}

function requestOf(request: IncomingMessage): string {
  return oneHeader(request, requestHeader) ?? ''
}

function oneHeader(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  return typeof value === 'string' ? value : undefined
}

/** Fires when the other side leaves before the answer is complete. */
function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) gone.abort()
  })
  return gone.signal
}

function head(response: ServerResponse, type: string): void {
  response.statusCode = 200
  for (const [name, value] of Object.entries({...uncached, 'content-type': type}))
    response.setHeader(name, value)
}

function json(response: ServerResponse, status: number, answer: unknown): void {
  response.writeHead(status, {'content-type': 'application/json'}).end(JSON.stringify(answer))
}

export function errorAnswer(code: string, message: string, hints: readonly string[] = []): ErrorAnswer {
  return {error: {code, message, hints}}
}

function fail(response: ServerResponse, error: unknown, log: (text: string) => void): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  if (error instanceof FramingError) {
    response.writeHead(400, {'content-type': 'text/plain'}).end(`cage: ${plain(error.message)}\n`)
    return
  }
  if (error instanceof CageError) {
    const status = error.code.startsWith('UPSTREAM_')
      ? 503
      : error.exitCode === ExitCode.notFound
        ? 404
        : error.exitCode === ExitCode.usage
          ? 422
          : 500
    json(response, status, errorAnswer(error.code, error.message, error.hints))
    return
  }
  log(messageOf(error))
  json(response, 500, errorAnswer('DISPATCHER_FAILED', messageOf(error)))
}
