import {chmod, rm} from 'node:fs/promises'
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http'
import {pipeline} from 'node:stream/promises'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import type {HeldDecision, InitAnswer, InitRequest, RefsAnswer} from '../socket-api.js'
import type {Documents} from './documents.js'
import type {Upstreams} from './upstreams.js'
import type {SocketClient} from '../socket-client.js'

const MAX_REQUEST = 1024 * 1024

/** What the CLI asks over exec: one JSON object in, one JSON object out; `audit` answers with JSON lines. */
export type ControlRequest =
  /** `issued`: Fingerprint[] of the values that the task's sidecar holds */
  | {op: 'document.put'; part: unknown; issued?: unknown}
  | {op: 'document.list'}
  | {op: 'document.remove'; task: string}
  | {op: 'repository.init'; repository: string; defaultBranch: string; objectFormat?: 'sha1' | 'sha256'}
  | {op: 'refs'; repository: string}
  | {op: 'upstream.put'; upstreams: unknown; resolver: unknown; allowAddresses: unknown; issued?: unknown}
  /** ForkAnswer: where tasks push */
  | {op: 'fork'}
  /** HeldPush[]; `held.decide` answers with the push that was decided */
  | {op: 'held.list'}
  | {op: 'held.decide'; task: string; request: string; approve: unknown}
  | {op: 'audit'; since?: string; task?: string; follow?: boolean}

export interface ControlParts {
  documents: Documents
  upstreams: Upstreams
  git: SocketClient
}

/** Serves the control socket, which only this container's user can open. */
export async function serveControl(path: string, parts: ControlParts): Promise<Server> {
  const server = createServer((request, response) => {
    answer(request, response, parts).catch((error: unknown) => {
      if (response.headersSent) response.destroy()
      else response.writeHead(422).end(`${JSON.stringify(errorOf(error))}\n`)
    })
  })
  server.timeout = 0
  server.requestTimeout = 0
  await rm(path, {force: true})
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  await chmod(path, 0o600)
  return server
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  parts: ControlParts,
): Promise<void> {
  const asked = await requestOf(request)
  if (asked.op === 'audit') return relayAudit(asked, response, parts.git)
  const result = await perform(asked, parts)
  response.writeHead(200).end(`${JSON.stringify(result)}\n`)
}

async function perform(
  asked: Exclude<ControlRequest, {op: 'audit'}>,
  {documents, upstreams, git}: ControlParts,
): Promise<unknown> {
  switch (asked.op) {
    case 'document.put': {
      const document = await documents.put(asked.part)
      await issue(git, document.task, asked.issued)
      await record(git, {
        op: asked.op,
        task: document.task,
        policyRev: document.revision,
        handle: document.handle,
      })
      return {document}
    }
    case 'document.list':
      return {documents: documents.list()}
    case 'document.remove': {
      const removed = await documents.remove(text(asked.task, 'task'))
      await git.json({method: 'DELETE', path: `/issued/${encodeURIComponent(asked.task)}`})
      for (const what of ['held', 'shares'])
        await git.json({method: 'DELETE', path: `/${what}/${encodeURIComponent(asked.task)}`})
      const left = await upstreams.end(asked.task)
      if (removed)
        await record(git, {op: asked.op, task: asked.task, ...(left > 0 ? {tokensLeft: left} : {})})
      return {removed}
    }
    case 'repository.init': {
      const body: InitRequest = {
        defaultBranch: text(asked.defaultBranch, 'defaultBranch'),
        ...(asked.objectFormat === undefined ? {} : {objectFormat: asked.objectFormat}),
      }
      return git.json<InitAnswer>({method: 'PUT', path: pathOf(asked.repository), body: JSON.stringify(body)})
    }
    case 'upstream.put': {
      const names = upstreams.set(asked)
      await issue(git, '_upstream', asked.issued)
      await record(git, {op: asked.op, repositories: names})
      return {repositories: names}
    }
    case 'fork': {
      const {url} = await upstreams.fork()
      return {url}
    }
    case 'held.list':
      return {held: await git.json({method: 'GET', path: '/held'})}
    case 'held.decide': {
      const path = `/held/${encodeURIComponent(text(asked.task, 'task'))}`
      const decision: HeldDecision = {
        request: text(asked.request, 'request'),
        approve: asked.approve === true,
      }
      return {decided: await git.json({method: 'POST', path, body: JSON.stringify(decision)})}
    }
    case 'refs':
      return git.json<RefsAnswer>({method: 'GET', path: `${pathOf(asked.repository)}/refs`})
    default:
      throw usage('unknown op')
  }
}

/** What the scanner of pushes looks for from now on. */
async function issue(git: SocketClient, issuer: string, issued: unknown): Promise<void> {
  if (issued === undefined) return
  await git.json({
    method: 'PUT',
    path: `/issued/${encodeURIComponent(issuer)}`,
    body: JSON.stringify(issued),
  })
}

async function relayAudit(
  asked: Extract<ControlRequest, {op: 'audit'}>,
  response: ServerResponse,
  git: SocketClient,
): Promise<void> {
  const query = new URLSearchParams()
  if (asked.since !== undefined) query.set('since', text(asked.since, 'since'))
  if (asked.task !== undefined) query.set('task', text(asked.task, 'task'))
  if (asked.follow === true) query.set('follow', '1')
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const {status, body} = await git.call({
    method: 'GET',
    path: `/journal?${query.toString()}`,
    signal: gone.signal,
  })
  response.writeHead(status === 200 ? 200 : 422)
  response.flushHeaders()
  await pipeline(body, response).catch(() => response.destroy())
}

async function record(git: SocketClient, entry: Record<string, unknown>): Promise<void> {
  await git.json({method: 'POST', path: '/journal', body: JSON.stringify({phase: 'event', ...entry})})
}

async function requestOf(request: IncomingMessage): Promise<ControlRequest> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_REQUEST) throw usage('the request is too large')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString()) as ControlRequest
  } catch (cause) {
    throw usage(`the request is not JSON: ${messageOf(cause)}`)
  }
}

function pathOf(repository: unknown): string {
  return `/repository/${encodeURIComponent(text(repository, 'repository'))}`
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '') throw usage(`${name} is missing`)
  return value
}

function usage(message: string): CageError {
  return new CageError(message, {code: 'CONTROL_REQUEST', exitCode: ExitCode.usage})
}

function errorOf(error: unknown): {error: {code: string; message: string; hints: readonly string[]}} {
  if (error instanceof CageError)
    return {error: {code: error.code, message: error.message, hints: error.hints}}
  return {error: {code: 'DISPATCHER_FAILED', message: messageOf(error), hints: []}}
}
