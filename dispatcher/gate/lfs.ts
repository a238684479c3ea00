import type {IncomingMessage, ServerResponse} from 'node:http'
import {Transform, type Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {CageError, messageOf} from '../../core/errors.js'
import type {ApiClient} from '../github/api-client.js'
import {uncached} from '../socket-api.js'
import {refuseJson} from './answers.js'
import type {CredentialUse} from './credential.js'
import type {UpstreamClient} from './upstream-client.js'

/** https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md */
const LFS_TYPE = 'application/vnd.git-lfs+json'
const MAX_BATCH = 1024 * 1024
const MAX_OBJECTS = 1000
/** Where GitHub keeps these objects. Their addresses carry a signature, so they are fetched here and never passed on. */
const githubStores =
  /^(?:github-cloud\.githubusercontent\.com|objects\.githubusercontent\.com|github-cloud\.s3\.amazonaws\.com)$/
/** what an action may want besides; everything else would be said in our name */
const passedHeaders = ['accept', 'x-amz-content-sha256', 'x-amz-date']

interface LfsObject {
  /** hex SHA-256 of the content */
  oid: string
  /** bytes */
  size: number
}

interface Download {
  href: string
  header: Record<string, string>
}

export interface LfsAsking {
  /** `host/path.git` */
  repository: string
  /** what stands behind `/info/lfs/` */
  action: string
  use: CredentialUse
}

export interface LfsParts {
  upstream: UpstreamClient
  api: Pick<ApiClient, 'open'>
}

/**
 * Git LFS for reading: the client is told to fetch objects here, and each is asked for anew and passed through, so that no
 * signed address and no header of the server's reaches a pod. Uploading is refused.
 * Errors: UPSTREAM_*, LFS_REFUSED with what the client is told
 */
export async function answerLfs(
  parts: LfsParts,
  asking: LfsAsking,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const object = /^objects\/([0-9a-f]{64})\/(\d{1,15})$/.exec(asking.action)
  if (request.method === 'POST' && asking.action === 'objects/batch') {
    const {operation, objects} = batchIn(await bodyOf(request))
    if (operation !== 'download') throw refused('Git LFS upload is not allowed: commit small files instead')
    return answerBatch(parts.upstream, asking, objects, response)
  }
  if (request.method === 'GET' && object)
    return relayObject(parts, asking, {oid: object[1] ?? '', size: Number(object[2])}, response)
  throw refused('of Git LFS only downloads are available here')
}

export function refuseLfs(response: ServerResponse, error: unknown): void {
  const known = error instanceof CageError && /^(?:LFS|UPSTREAM)_/.test(error.code)
  const status = known && error.code === 'LFS_REFUSED' ? 403 : 502
  const message = known ? messageOf(error) : 'the dispatcher cannot serve this right now; try again later'
  if (response.headersSent) response.destroy()
  else refuseJson(response, status, message, LFS_TYPE)
}

async function answerBatch(
  upstream: UpstreamClient,
  asking: LfsAsking,
  objects: readonly LfsObject[],
  response: ServerResponse,
): Promise<void> {
  const downloads = await ask(upstream, asking, objects)
  const answer = objects.map(({oid, size}) =>
    downloads.has(oid)
      ? {
          oid,
          size,
          authenticated: true,
          actions: {download: {href: `https://${asking.repository}/info/lfs/objects/${oid}/${size}`}},
        }
      : {oid, size, error: {code: 404, message: 'cage: the upstream does not have this object'}},
  )
  response
    .writeHead(200, {...uncached, 'content-type': LFS_TYPE})
    .end(JSON.stringify({transfer: 'basic', hash_algo: 'sha256', objects: answer}))
}

async function relayObject(
  parts: LfsParts,
  asking: LfsAsking,
  object: LfsObject,
  response: ServerResponse,
): Promise<void> {
  const download = (await ask(parts.upstream, asking, [object])).get(object.oid)
  if (!download) throw refused('the upstream does not have this object')
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const content = await open(parts, asking, download, gone.signal)
  response.writeHead(200, {
    ...uncached,
    'content-type': 'application/octet-stream',
    'content-length': String(object.size),
  })
  await pipeline(content, ofSize(object.size), response).catch(() => response.destroy())
}

/** On the upstream's own host, or where GitHub keeps such objects; nothing else is dialled because a server says so. */
async function open(
  {upstream, api}: LfsParts,
  {repository, use}: LfsAsking,
  {href, header}: Download,
  signal: AbortSignal,
): Promise<Readable> {
  const url = URL.canParse(href) ? new URL(href) : undefined
  const [host] = repository.split('/')
  const headers = Object.fromEntries(
    Object.entries(header).filter(([name]) => passedHeaders.includes(name.toLowerCase())),
  )
  const authorization = Object.entries(header).find(([name]) => name.toLowerCase() === 'authorization')?.[1]
  if (url?.protocol === 'https:' && url.host === host) {
    const elsewhere = {
      path: `${url.pathname}${url.search}`,
      ...(authorization === undefined ? {} : {authorization}),
    }
    return upstream.ask(repository, {method: 'GET', target: '', headers, elsewhere, use, signal})
  }
  if (
    host === 'github.com' &&
    url?.protocol === 'https:' &&
    url.port === '' &&
    githubStores.test(url.hostname)
  ) {
    const target = `${url.pathname}${url.search}`
    const own = authorization === undefined ? headers : {...headers, authorization}
    const answer = await api.open(url.hostname, {method: 'GET', target, headers: own, signal})
    if (answer.statusCode === 200) return answer
    answer.destroy()
    throw refused(`the upstream's store answered with status ${answer.statusCode ?? 0}`)
  }
  throw refused('the upstream keeps its LFS objects where the dispatcher does not go')
}

/** By object id, where each of them is now. */
async function ask(
  upstream: UpstreamClient,
  {repository, use}: LfsAsking,
  objects: readonly LfsObject[],
): Promise<Map<string, Download>> {
  const question = {operation: 'download', transfers: ['basic'], hash_algo: 'sha256', objects}
  const body = Buffer.from(JSON.stringify(question))
  const answer = await upstream.ask(repository, {
    method: 'POST',
    target: '/info/lfs/objects/batch',
    headers: {accept: LFS_TYPE, 'content-type': LFS_TYPE, 'content-length': String(body.length)},
    body,
    use,
    staysHere: true,
  })
  return downloadsIn(await bodyOf(answer), objects)
}

function downloadsIn(text: string, objects: readonly LfsObject[]): Map<string, Download> {
  const {transfer = 'basic', objects: found} = parsed(text) as {transfer?: unknown; objects?: unknown}
  if (transfer !== 'basic' || !Array.isArray(found))
    throw new CageError('the upstream gave an answer about LFS objects that cannot be read', {
      code: 'UPSTREAM_ANSWER',
    })
  const wanted = new Set(objects.map(({oid}) => oid))
  const downloads = new Map<string, Download>()
  for (const one of found as (Record<string, unknown> | null)[]) {
    const {oid, actions} = one ?? {}
    const {href, header} =
      (actions as {download?: {href?: unknown; header?: unknown}} | undefined)?.download ?? {}
    if (typeof oid !== 'string' || !wanted.has(oid) || typeof href !== 'string') continue
    const texts = Object.entries((header ?? {}) as Record<string, unknown>).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    )
    downloads.set(oid, {href, header: Object.fromEntries(texts)})
  }
  return downloads
}

function batchIn(text: string): {operation: unknown; objects: LfsObject[]} {
  const {operation, objects} = parsed(text) as {operation?: unknown; objects?: unknown}
  if (!Array.isArray(objects) || objects.length === 0 || objects.length > MAX_OBJECTS)
    throw refused('a batch names between one and a thousand objects')
  const checked = (objects as (Record<string, unknown> | null)[]).map((one): LfsObject => {
    const {oid, size} = one ?? {}
    if (
      typeof oid !== 'string' ||
      !/^[0-9a-f]{64}$/.test(oid) ||
      !Number.isSafeInteger(size) ||
      Number(size) < 0
    )
      throw refused('an object of this batch is not named by SHA-256 and size')
    return {oid, size: Number(size)}
  })
  return {operation, objects: checked}
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // said below
  }
  throw refused('this is not what Git LFS sends')
}

async function bodyOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += chunk.length
    if (bytes > MAX_BATCH) throw refused('the batch is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Ends with an error when it is not as long as was said. */
function ofSize(size: number): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > size) done(new Error('the object is longer than its size'))
      else done(null, chunk)
    },
    flush(done) {
      done(bytes === size ? null : new Error('the object is shorter than its size'))
    },
  })
}

function refused(message: string): CageError {
  return new CageError(message, {code: 'LFS_REFUSED'})
}
