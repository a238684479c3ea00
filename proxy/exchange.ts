import type {IncomingMessage, ServerResponse} from 'node:http'
import {messageOf} from '../core/errors.js'
import {Denial, denialBody} from './denial.js'
import type {Dialer} from './dial.js'
import type {Enforcement} from './enforcement.js'
import {newRequestId, requestFacts} from './facts.js'
import type {Outcome} from './forward.js'
import type {Grants} from './grants.js'
import type {Limits} from './limits.js'
import type {SyntheticNames} from './names/synthetic.js'
import type {Records} from './records.js'
import type {ConnectionTarget} from './target.js'
import {relayToDispatcher} from './to-dispatcher.js'
import {relayToUpstream} from './to-upstream.js'
import {Upstreams} from './upstreams.js'
import type {Note} from './visit.js'

/** How long what an agent still sends after a refusal is read and thrown away. */
const DRAIN_MS = 10_000

export interface ExchangeParts {
  grants: Grants
  names: SyntheticNames
  limits: Limits
  dialer: Dialer
  records: Records
}

/** Requests of the agent, each from its header block to its audit record. Every step can only narrow. */
export class Exchange {
  readonly #parts: ExchangeParts
  #upstreams = new Upstreams()
  #upstreamsOf: Enforcement | undefined

  constructor(parts: ExchangeParts) {
    this.#parts = parts
  }

  /** Never rejects. @param expectsContinue the agent waits for `100 Continue` before it sends the body */
  async handle(
    request: IncomingMessage,
    response: ServerResponse,
    connection: ConnectionTarget,
    expectsContinue = false,
  ): Promise<void> {
    const started = performance.now()
    const note: Note = {requestId: newRequestId()}
    try {
      const outcome = await this.#run(request, response, connection, note, expectsContinue)
      note.bytesUp = outcome.bytesUp
      note.bytesDown = outcome.bytesDown
      if (outcome.failure) {
        if (outcome.status === undefined) throw outcome.failure
        note.detail = `ended early: ${messageOf(outcome.failure)}`
        if (outcome.failure instanceof Denial) throw outcome.failure
      }
      note.status = outcome.status ?? 0
    } catch (error) {
      refuse(request, response, connection, note, asDenial(error, response))
    }
    const ms = Math.round(performance.now() - started)
    this.#parts.records.write({kind: 'request', decision: 'deny', reason: 'internal_error', ...note, ms})
  }

  async #run(
    request: IncomingMessage,
    response: ServerResponse,
    connection: ConnectionTarget,
    note: Note,
    expectsContinue: boolean,
  ): Promise<Outcome> {
    const {grants, ...parts} = this.#parts
    if (!parts.records.admitting) throw new Denial('audit_unavailable', {status: 503})
    const {state} = grants
    if (state.kind === 'closed') throw new Denial(state.reason, {detail: state.detail})
    const {enforcement} = state
    note.revision = enforcement.grant.revision
    const facts = requestFacts(request, connection, note.requestId ?? '')
    Object.assign(note, {host: facts.host, port: facts.port, method: facts.method})
    if (facts.websocket) throw new Denial('websocket_not_allowed')
    const sendContinue = () => {
      if (expectsContinue) response.writeContinue()
    }
    const visit = {
      request,
      response,
      facts,
      enforcement,
      note,
      sendContinue,
      ...parts,
      upstreams: this.#upstreamsFor(enforcement),
    }
    return enforcement.isDispatcherHost(facts.host) ? relayToDispatcher(visit) : relayToUpstream(visit)
  }

  /** A new grant starts with new connections: the old ones may lead where it leads no more. */
  #upstreamsFor(enforcement: Enforcement): Upstreams {
    if (this.#upstreamsOf !== enforcement) {
      this.#upstreams.retire()
      this.#upstreams = new Upstreams()
      this.#upstreamsOf = enforcement
    }
    return this.#upstreams
  }
}

function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  connection: ConnectionTarget,
  note: Note,
  denial: Denial,
): void {
  const {reason, rule, status, detail} = denial
  const host = note.host ?? connection.host ?? connection.sni
  Object.assign(note, {reason, status, port: note.port ?? connection.port})
  // What was allowed and failed stays allowed in the record.
  if (!denial.failed || note.decision === undefined) {
    Object.assign(note, {decision: 'deny', rule})
    delete note.would
  }
  if (detail !== undefined) note.detail = detail
  if (host !== undefined) note.host = host
  // Whatever was found in the request, the path may hold it.
  if (/secret|placeholder|scan/.test(reason)) delete note.path
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const facts = {
    requestId: note.requestId ?? '',
    ...(note.method === undefined ? {} : {method: note.method}),
    ...(host === undefined ? {} : {host}),
    port: note.port ?? connection.port,
  }
  const {type, body} = denialBody(denial, facts, (request.headers['user-agent'] ?? '').startsWith('git/'))
  response.writeHead(status, {
    'content-type': type,
    'content-length': body.length,
    'cache-control': 'no-store',
  })
  response.end(body)
  drain(request)
}

/** An agent that is still sending reads its answer only when somebody takes what it sends. */
function drain(request: IncomingMessage): void {
  if (request.complete) return
  request.resume()
  const timer = setTimeout(() => request.destroy(), DRAIN_MS)
  timer.unref()
  request.once('close', () => clearTimeout(timer))
  request.once('end', () => clearTimeout(timer))
}

function asDenial(error: unknown, response: ServerResponse): Denial {
  if (error instanceof Denial) return error
  const detail = messageOf(error)
  if (response.destroyed) return new Denial('agent_left', {status: 499, failed: true, detail})
  const {code} = error as NodeJS.ErrnoException
  if (code !== undefined && /^(UND_ERR|ECONN|EPIPE|HPE_|ETIMEDOUT)/.test(code)) {
    return new Denial('upstream_unreachable', {status: 502, failed: true, detail: `${code} ${detail}`})
  }
  return new Denial('internal_error', {
    status: 500,
    failed: true,
    hint: 'A fault in cage itself. Tell the person.',
    detail,
  })
}
