import {messageOf} from '../core/errors.js'
import type {AgentRequest, AgentResponse} from './agent.js'
import type {Budget} from './budget/budget.js'
import {Denial, denialBody} from './denial.js'
import type {Dialer, Protocol} from './dial.js'
import type {Enforcement} from './enforcement.js'
import {headerPairs, newRequestId, requestFacts} from './facts.js'
import {grpcDenial} from './grpc/denial.js'
import type {Outcome} from './forward.js'
import type {Grants} from './grants.js'
import type {HeldBytes} from './held.js'
import type {Place} from './inspect.js'
import type {Limits} from './limits.js'
import type {SyntheticNames} from './names/synthetic.js'
import type {Records} from './records.js'
import type {ConnectionTarget} from './target.js'
import {relayToDispatcher} from './to-dispatcher.js'
import {relayToUpstream, stillAllowed} from './to-upstream.js'
import {Upstreams} from './upstreams.js'
import type {Note, Visit} from './visit.js'
import type {Tunnel} from './websocket/tunnel.js'

/** How long what an agent still sends after a refusal is read and thrown away. */
const DRAIN_MS = 10_000

export interface ExchangeParts {
  grants: Grants
  names: SyntheticNames
  limits: Limits
  budget: Budget
  dialer: Dialer
  held: HeldBytes
  records: Records
}

/** What a request wants besides an answer. */
export interface Asked {
  /** it waits for `100 Continue` before it sends the body */
  expectsContinue?: boolean
  /** it came with `Upgrade`: its connection is no longer HTTP afterwards */
  tunnel?: Tunnel
  /** why it is no request that anybody could judge */
  malformed?: Denial
}

/** Requests of the agent, each from its header block to its audit record. Every step can only narrow. */
export class Exchange {
  readonly #parts: ExchangeParts
  readonly #running = new Running()
  #upstreams = new Upstreams()
  #upstreamsOf: Enforcement | undefined

  constructor(parts: ExchangeParts) {
    this.#parts = parts
  }

  /** Never rejects. */
  async handle(
    request: AgentRequest,
    response: AgentResponse,
    connection: ConnectionTarget,
    asked: Asked = {},
  ): Promise<void> {
    const started = performance.now()
    const note: Note = {
      kind: 'request',
      decision: 'deny',
      reason: 'internal_error',
      requestId: newRequestId(),
    }
    try {
      const outcome = await this.#run(request, response, connection, note, asked)
      note.bytesUp = outcome.bytesUp
      note.bytesDown = outcome.bytesDown
      note.status = outcome.status ?? 0
      const {failure} = outcome
      if (failure && outcome.status === undefined) throw failure
      if (failure instanceof Denial) {
        describe(note, failure, connection)
        // A tunnel has said its last word itself.
        if (outcome.status !== 101) response.destroy()
      } else if (failure) note.detail ??= `ended early: ${messageOf(failure)}`
    } catch (error) {
      const denial = asDenial(error, response)
      describe(note, denial, connection)
      note.status = denial.status
      answer(request, response, note, denial)
    }
    if (note.status === 101) note.kind = 'tunnel'
    note.ms = Math.round(performance.now() - started)
    this.#parts.records.write(note)
  }

  async #run(
    request: AgentRequest,
    response: AgentResponse,
    connection: ConnectionTarget,
    note: Note,
    asked: Asked,
  ): Promise<Outcome> {
    const {grants, names, limits, budget, dialer, held, records} = this.#parts
    if (!records.admitting) throw new Denial('audit_unavailable', {status: 503})
    const {state} = grants
    if (state.kind === 'closed') throw new Denial(state.reason, {detail: state.detail})
    const {enforcement} = state
    note.revision = enforcement.grant.revision
    if (asked.malformed) throw asked.malformed
    const facts = requestFacts(request, connection, note.requestId ?? '')
    note.host = facts.host
    note.port = facts.port
    note.method = facts.method
    const {tunnel} = asked
    if (tunnel && facts.hasBody) throw new Denial('upgrade_with_body', {status: 400})
    if (facts.websocket && (!tunnel || facts.method !== 'GET'))
      throw new Denial('upgrade_incomplete', {status: 400})
    if (facts.websocket && enforcement.isDispatcherHost(facts.host)) throw new Denial('websocket_not_allowed')
    const toDispatcher = enforcement.isDispatcherHost(facts.host)
    // Work that is done must still get home.
    if (!toDispatcher) budget.requireTime(enforcement.grant.budget)
    const sendContinue = () => {
      if (asked.expectsContinue) response.sendContinue()
    }
    const visit: Visit = {
      request,
      response,
      facts,
      enforcement,
      judged: [],
      note,
      sendContinue,
      tunnel: facts.websocket ? tunnel : undefined,
      names,
      limits,
      budget,
      dialer,
      held,
      upstreams: this.#upstreamsFor(enforcement),
    }
    this.#running.add(visit)
    try {
      const relay = toDispatcher ? relayToDispatcher : relayToUpstream
      return await relay(visit)
    } finally {
      this.#running.remove(visit)
    }
  }

  /** What may be spoken to a host, best first. The dispatcher's own door speaks HTTP/1.1. */
  protocolsFor(host: string | undefined): readonly Protocol[] {
    const {state} = this.#parts.grants
    const isDispatcher =
      host !== undefined && state.kind === 'open' && state.enforcement.isDispatcherHost(host)
    return isDispatcher ? ['http/1.1'] : ['h2', 'http/1.1']
  }

  /** Requests and tunnels under way. */
  get running(): number {
    return this.#running.visits.length
  }

  /** After a new grant: ends the answers and tunnels under way that it would not let begin. */
  reconsider(enforcement: Enforcement): void {
    for (const visit of [...this.#running.visits]) {
      if (visit.enforcement === enforcement || stillAllowed(visit, enforcement)) continue
      visit.note.detail = `revision ${enforcement.grant.revision} ended it`
      visit.response.destroy()
    }
  }

  /** Once the time of the task is over: ends what runs, but what brings work home. */
  endOvertime(): void {
    for (const visit of [...this.#running.visits]) {
      if (visit.enforcement.isDispatcherHost(visit.facts.host)) continue
      visit.note.detail = 'the time of the task is over'
      visit.response.destroy()
    }
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

/** A Set with this turnover keeps every table that it had, and the visits in them, until the old heap is collected. */
class Running {
  readonly visits: Visit[] = []

  add(visit: Visit): void {
    this.visits.push(visit)
  }

  remove(visit: Visit): void {
    const at = this.visits.lastIndexOf(visit)
    const last = this.visits.pop()
    if (last && at < this.visits.length) this.visits[at] = last
  }
}

/** What a refusal adds to the record. */
function describe(note: Note, denial: Denial, connection: ConnectionTarget): void {
  const {reason, rule, detail} = denial
  const host = note.host ?? connection.host ?? connection.sni
  Object.assign(note, {reason, port: note.port ?? connection.port})
  // What was allowed and failed stays allowed in the record.
  if (!denial.failed || note.decision === 'deny') {
    Object.assign(note, {decision: 'deny', rule})
    delete note.would
  }
  if (detail !== undefined) note.detail = detail
  if (host !== undefined) note.host = host
  // Whatever was found in the request, the path may hold it.
  if (/secret|placeholder|scan/.test(reason)) delete note.path
  if (detail === ('host' satisfies Place)) delete note.host
}

function answer(request: AgentRequest, response: AgentResponse, note: Note, denial: Denial): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const {requestId = '', method, host, port} = note
  const facts = {
    requestId,
    ...(method === undefined ? {} : {method}),
    ...(host === undefined ? {} : {host}),
    ...(port === undefined ? {} : {port}),
  }
  const sent = (wanted: string) =>
    headerPairs(request.rawHeaders).find(([name]) => name.toLowerCase() === wanted)?.[1] ?? ''
  const speaksGrpc = request.http2 && /^application\/grpc(\+|;|$)/.test(sent('content-type'))
  if (speaksGrpc) response.start(200, grpcDenial(denial, facts), true)
  else {
    const {type, body} = denialBody(denial, facts, sent('user-agent').startsWith('git/'))
    response.start(denial.status, [
      ['content-type', type],
      ['content-length', String(body.length)],
      ['cache-control', 'no-store'],
    ])
    response.body.end(body)
  }
  drain(request)
}

/** An agent that is still sending reads its answer only when somebody takes what it sends. */
function drain(request: AgentRequest): void {
  if (request.complete) return
  request.resume()
  const timer = setTimeout(() => request.destroy(), DRAIN_MS)
  timer.unref()
  request.once('close', () => clearTimeout(timer))
  request.once('end', () => clearTimeout(timer))
}

function asDenial(error: unknown, response: AgentResponse): Denial {
  if (error instanceof Denial) return error
  const detail = messageOf(error)
  if (response.destroyed) return new Denial('agent_left', {status: 499, failed: true, detail})
  const {code} = error as NodeJS.ErrnoException
  if (code === 'ERR_HTTP2_HEADER_SINGLE_VALUE') return new Denial('header_repeated', {status: 400, detail})
  if (code !== undefined && /^(ECONN|EPIPE|ETIMEDOUT|ERR_HTTP[12]|ERR_SSL)/.test(code)) {
    return new Denial('upstream_unreachable', {status: 502, failed: true, detail: `${code} ${detail}`})
  }
  return new Denial('internal_error', {
    status: 500,
    failed: true,
    hint: 'A fault in cage itself. Tell the person.',
    detail,
  })
}
