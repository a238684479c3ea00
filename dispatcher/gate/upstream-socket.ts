import {chmod, rm} from 'node:fs/promises'
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http'
import {Readable} from 'node:stream'
import {CageError, messageOf} from '../../core/errors.js'
import {decideRefUpdate} from '../../policy/decide-git.js'
import type {GitGrant} from '../../policy/grant.js'
import {commandsHeader, requestHeader, type UpstreamCommands} from '../socket-api.js'
import {flush, packet} from '../wire/pkt-line.js'
import {relayFetch} from './fetch-relay.js'
import type {UpstreamClient} from './upstream-client.js'
import type {Upstreams} from './upstreams.js'

const MAX_RESULT = 4 * 1024 * 1024
/** git itself sends up to this much with its length, and in chunks beyond */
const POST_BUFFER = 1024 * 1024

/** What a push may ask of an upstream beside its commands; `push-options` would be orders to it. */
const known = new Set([
  ...['report-status', 'side-band-64k', 'quiet', 'atomic', 'agent=cage'],
  ...['object-format=sha1', 'object-format=sha256'],
])

/** Pushes that tasks have open right now, by request: only for these may the `git` container send anything. */
export class OpenPushes {
  readonly #open = new Map<string, {repository: string; grant: GitGrant}>()

  /** @returns a function to call when the push is over */
  begin(request: string, repository: string, grant: GitGrant): () => void {
    this.#open.set(request, {repository, grant})
    return () => this.#open.delete(request)
  }

  /** Errors: PUSH_NOT_OPEN, COMMANDS_DENIED: the other container asks for what no document gives. */
  check(request: string, repository: string, {commands, capabilities}: UpstreamCommands): string {
    const push = this.#open.get(request)
    if (push?.repository.toLowerCase() !== repository.toLowerCase() || commands.length === 0)
      throw new CageError('no task is pushing this', {code: 'PUSH_NOT_OPEN'})
    const denied = commands
      .map((command) => decideRefUpdate(push.grant, command))
      .find(({effect}) => effect === 'deny')
    const more = capabilities.every((one) => known.has(one)) ? undefined : 'unknown capability'
    const reason = denied?.reason ?? more
    if (reason !== undefined)
      throw new CageError(`the document does not let this through: ${reason}`, {code: 'COMMANDS_DENIED'})
    return push.grant.task
  }
}

export interface UpstreamSocketParts {
  client: UpstreamClient
  upstreams: Upstreams
  pushes: OpenPushes
  log: (text: string) => void
}

/** The way of the `git` container to upstreams: reading, and sending what an open push may change. */
export async function serveUpstreams(path: string, parts: UpstreamSocketParts): Promise<Server> {
  const server = createServer({maxHeaderSize: 512 * 1024, keepAliveTimeout: 60_000}, (request, response) => {
    answer(parts, request, response).catch((error: unknown) => {
      const {code, message, hints} =
        error instanceof CageError
          ? error
          : new CageError(parts.upstreams.redact(messageOf(error)), {code: 'DISPATCHER_FAILED'})
      if (response.headersSent) response.destroy()
      else response.writeHead(502).end(JSON.stringify({error: {code, message, hints}}))
    })
  })
  server.requestTimeout = 0
  server.timeout = 0
  await rm(path, {force: true})
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  // The two containers run as different users.
  await chmod(path, 0o666)
  return server
}

async function answer(
  parts: UpstreamSocketParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const match = /^\/upstream\/([^/]+)\/(.+)$/.exec(request.url ?? '')
  const repository = decodeURIComponent(match?.[1] ?? '')
  const use = {writes: false}
  switch (`${request.method ?? ''} ${match?.[2] ?? ''}`) {
    case 'GET info/refs?service=git-upload-pack':
      return relayFetch(parts.client, {repository, kind: 'advertise', use}, request, response)
    case 'POST git-upload-pack':
      return relayFetch(parts.client, {repository, kind: 'fetch', use}, request, response)
    case 'GET info/refs?service=git-receive-pack': {
      const target = '/info/refs?service=git-receive-pack'
      const refs = await parts.client.ask(repository, {method: 'GET', target, use: {writes: true}})
      response.writeHead(200, {'content-type': 'application/x-git-receive-pack-advertisement'})
      refs.on('error', () => response.destroy())
      refs.pipe(response)
      return
    }
    case 'POST git-receive-pack':
      return sendPack(parts, repository, request, response)
    default:
      throw new CageError('no such route', {code: 'NOT_FOUND'})
  }
}

async function sendPack(
  {client, upstreams, pushes}: UpstreamSocketParts,
  repository: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const wanted = JSON.parse(
    Buffer.from(String(request.headers[commandsHeader] ?? ''), 'base64').toString(),
  ) as UpstreamCommands
  const task = pushes.check(String(request.headers[requestHeader] ?? ''), repository, wanted)
  const gone = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) gone.abort()
  })
  const body = await bodyOf(commandLines(wanted), request)
  const result = await client.ask(repository, {
    method: 'POST',
    target: '/git-receive-pack',
    headers: {
      'content-type': 'application/x-git-receive-pack-request',
      accept: 'application/x-git-receive-pack-result',
      ...(Buffer.isBuffer(body) ? {'content-length': String(body.length)} : {}),
    },
    body,
    use: {task, writes: true},
    // Cut off in the middle nobody would know what became of the push; it is looked through below.
    staysHere: true,
    signal: gone.signal,
  })
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of result as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_RESULT) throw new CageError('the upstream says too much', {code: 'UPSTREAM_FAILED'})
    chunks.push(chunk)
  }
  // An upstream that repeats what it was shown must not show it to anybody else.
  const text = Buffer.concat(chunks).toString('latin1')
  const clean = upstreams.redact(text)
  if (clean !== text)
    throw new CageError('the answer of the upstream was not fit to show', {code: 'UPSTREAM_ANSWER'})
  response
    .writeHead(200, {'content-type': 'application/x-git-receive-pack-result'})
    .end(Buffer.concat(chunks))
}

/** gitprotocol-pack: the commands of a push, in words of our own. */
function commandLines({commands, capabilities}: UpstreamCommands): Buffer {
  const lines = commands.map(({old, new: next, ref}, index) =>
    packet(`${old} ${next} ${ref}${index === 0 ? `\0 ${capabilities.join(' ')}` : ''}`),
  )
  return Buffer.concat([...lines, flush])
}

/** A small request as a whole, with its length, as git would send it; a large one as a stream. */
async function bodyOf(head: Buffer, pack: IncomingMessage): Promise<Buffer | Readable> {
  const held = [head]
  let bytes = head.length
  const rest = pack[Symbol.asyncIterator]() as AsyncIterableIterator<Buffer>
  while (bytes <= POST_BUFFER) {
    const next = await rest.next()
    if (next.done === true) return Buffer.concat(held)
    held.push(next.value)
    bytes += next.value.length
  }
  return Readable.from(
    (async function* () {
      yield* held
      yield* rest
    })(),
    {objectMode: false},
  )
}
