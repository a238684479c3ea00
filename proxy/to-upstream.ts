import type {EgressDecision, EgressRequest} from '../policy/decide-egress.js'
import {admitBody, heldBytes, type Body} from './body.js'
import type {Shape} from './budget/calls.js'
import {beginCall, meteredShape, MODEL_BODY_BYTES} from './budget/metered.js'
import {
  bindsBody,
  checkQuery,
  signAnew,
  substituteBody,
  substituteHeaders,
  type Substitution,
} from './credentials.js'
import {Denial} from './denial.js'
import type {Enforcement} from './enforcement.js'
import type {Headers, RequestFacts} from './facts.js'
import {forward, type Outcome, type Outgoing} from './forward.js'
import {isGrpc, judgedMessages} from './grpc/messages.js'
import {Inspection} from './inspect.js'
import type {Admission} from './limits.js'
import {mcpMessages, type McpMessage} from './mcp.js'
import {replacementsFor} from './scrub.js'
import {SIGNED_BODY_BYTES} from './sigv4.js'
import type {Visit} from './visit.js'
import {openTunnel} from './websocket/tunnel.js'

const noBody: Body = {kind: 'none'}

/** Decides, scans, substitutes, limits and sends a request to the host it names. Throws Denial. */
export async function relayToUpstream(visit: Visit): Promise<Outcome> {
  const {facts, enforcement, note} = visit
  // An MCP call is decided by what its body says, so until then only its host is judged.
  const isMcpCall = facts.method === 'POST' && enforcement.inspectsMcp(facts)
  const early = isMcpCall ? undefined : decide([undefined], visit)
  const known = enforcement.knowsName(facts.host)
  if (!known) throw new Denial('host_not_allowed')
  if (visit.names.admit(facts.host, known.wildcard) === undefined) throw new Denial('name_budget')
  const inspection = new Inspection(enforcement.detectors(facts))
  note.findings = inspection.recorded
  if (known.wildcard !== undefined) inspection.name(known.wildcard)

  checkQuery(facts, enforcement)
  const substituted = substituteHeaders(facts.headers, facts, enforcement)
  inspection.head(facts, substituted.judged)
  note.path = facts.path

  const shape = meteredShape(visit)
  const wholeBytes = shape ? MODEL_BODY_BYTES : substituted.signs ? SIGNED_BODY_BYTES : undefined
  const bodyIsBound = bindsBody(facts, enforcement)
  const wholeOnly = isMcpCall || bodyIsBound || wholeBytes !== undefined
  const inMessages = isGrpc(facts) && !wholeOnly
  const wanted = inMessages ? 0 : heldBytes(facts, wholeBytes)
  const giveBack = wanted > 0 ? await visit.held.take(wanted) : undefined
  try {
    if (facts.hasBody) visit.sendContinue()
    const body = !facts.hasBody
      ? noBody
      : inMessages
        ? messagesOf(visit, inspection)
        : await admitBody(visit.request, facts, inspection, wholeOnly, wholeBytes)
    const decisions = early ?? decide(callsIn(body), visit)
    const bound =
      bodyIsBound && body.kind === 'whole' ? substituteBody(body.bytes, facts, enforcement) : undefined
    note.credentials = bound ? [...substituted.used, ...bound.used] : substituted.used
    const ready = bound ? {kind: 'whole' as const, bytes: bound.body} : body
    const {path, query, headers} = signed(visit, substituted, ready)
    const {uploadBytes} = enforcement.grant.budget
    const admission = visit.limits.admitAll(
      decisions.map(({matched}) => matched),
      {host: facts.host, uploadBytes},
    )
    return await send(visit, {path, query, headers, body: ready, shape}, inspection, admission)
  } finally {
    giveBack?.()
  }
}

/** Address and headers as they go out. Throws Denial. */
function signed(
  {facts, enforcement}: Visit,
  {headers, signs}: Substitution,
  body: Body,
): Pick<Sent, 'path' | 'query' | 'headers'> {
  const {method, path, query} = facts
  if (!signs) return {path, query, headers}
  const bytes = body.kind === 'whole' ? body.bytes : Buffer.alloc(0)
  const request = {method, path, query, headers, host: hostHeader(facts), body: bytes}
  return signAnew(request, signs, enforcement, new Date())
}

interface Sent {
  path: string
  query: string
  headers: Headers
  body: Body
  /** of a call to a model */
  shape: Shape | undefined
}

/** They may wait for each other's answers, so none waits for the end. */
function messagesOf({request, facts, held}: Visit, inspection: Inspection): Body {
  const chunks = judgedMessages(request, facts, inspection, held)
  return {kind: 'stream', chunks, length: facts.contentLength}
}

async function send(
  visit: Visit,
  sent: Sent,
  inspection: Inspection,
  admission: Admission,
): Promise<Outcome> {
  const {facts, enforcement, note, tunnel} = visit
  const replacements = replacementsFor(facts.host, enforcement)
  const key = `${facts.scheme}://${facts.host}:${facts.port}`
  const target = enforcement.routeUrl(facts.host)
  const prefix = target?.pathname.replace(/\/+$/, '') ?? ''
  const path = `${prefix}${sent.path}${sent.query === '' ? '' : `?${sent.query}`}`
  const isRead = replacements !== undefined || sent.shape !== undefined
  const headers: Headers = [['host', target?.host ?? hostHeader(facts)]]
  for (const header of isRead ? plainAnswer(sent.headers) : sent.headers) headers.push(header)
  const judge = (payload: Buffer) => {
    inspection.body(payload)
    admission.sent(payload.length)
  }
  try {
    const bytes = sent.body.kind === 'whole' ? sent.body.bytes : Buffer.alloc(0)
    // Names and addresses carry data as well as bodies do.
    admission.sent(bytes.length + path.length + lengthOf(headers))
    const call = sent.shape && (await beginCall(visit, sent.shape, bytes))
    const body: Body = call ? {kind: 'whole', bytes: call.body} : sent.body
    let outcome: Outcome | undefined
    try {
      const upstream = visit.upstreams.get(key, (protocols) =>
        visit.dialer.dial(facts, enforcement, protocols),
      )
      const outgoing: Outgoing = {
        method: facts.method,
        path,
        headers,
        trailers: facts.trailers,
        body: outgoingBody(body, admission.sent),
      }
      if (body.kind === 'stream' && body.length !== undefined) outgoing.length = body.length
      if (replacements) outgoing.replacements = replacements
      if (call) outgoing.meter = call.meter
      const sender = facts.http2 ? upstream.http2 : upstream.http1
      outcome = tunnel
        ? await openTunnel(upstream.http1, {path, headers, judge, replacements}, tunnel)
        : await forward(sender, outgoing, visit.request, visit.response)
      if (upstream.address !== undefined) note.address = upstream.address
      return outcome
    } finally {
      await call?.settle(outcome)
    }
  } finally {
    admission.end()
  }
}

function callsIn(body: Body): (McpMessage | undefined)[] {
  if (body.kind !== 'whole') throw new Denial('mcp_unreadable', {status: 400})
  const messages = mcpMessages(body.bytes)
  // The client's answers to the server: no call, but still a message that a rule has to let through.
  return messages.length > 0 ? messages : [{method: 'notifications/initialized'}]
}

/** Whether a new grant would let begin what runs. What nobody has judged yet is not; it may begin again. */
export function stillAllowed({facts, judged}: Visit, enforcement: Enforcement): boolean {
  if (enforcement.isDispatcherHost(facts.host)) return true
  return judged.length > 0 && judged.every((request) => enforcement.decide(request).decision !== 'deny')
}

function asked(facts: RequestFacts, mcp?: McpMessage): EgressRequest {
  const {host, port, scheme, method, path, query, websocket, contentType} = facts
  const request: EgressRequest = {host, port, scheme, method, path, query, websocket}
  if (contentType !== undefined) request.contentType = contentType
  // Only an address with a question in it can be one to a resolver.
  const accept = query === '' ? undefined : facts.headers.find(([name]) => name.toLowerCase() === 'accept')
  if (accept) request.accept = accept[1]
  if (mcp) request.mcp = mcp
  return request
}

/** One decision for each message: all must pass, the first that does not ends the request. Throws Denial. */
function decide(messages: (McpMessage | undefined)[], visit: Visit): EgressDecision[] {
  const {facts, enforcement, note} = visit
  visit.judged = messages.map((mcp) => asked(facts, mcp))
  const decisions = visit.judged.map((request) => {
    const decision = enforcement.decide(request)
    if (decision.decision === 'deny') throw new Denial(decision.reason, {rule: decision.rule})
    return decision
  })
  const result = decisions.find((one) => one.decision === 'audit') ?? decisions.at(-1)
  if (!result) throw new Denial('host_not_allowed')
  const {decision, reason, rule} = result
  note.decision = decision
  note.reason = reason
  note.rule = rule
  note.to = enforcement.route(facts.host) ? 'route' : 'direct'
  if (decision === 'audit') note.would = 'deny'
  return decisions
}

function outgoingBody(body: Body, sent: (bytes: number) => void): Outgoing['body'] {
  if (body.kind === 'none') return null
  return body.kind === 'whole' ? body.bytes : metered(body.chunks, sent)
}

/** Bytes of the lines, without what stands between name and value. */
function lengthOf(headers: Headers): number {
  let length = 0
  for (const [name, value] of headers) length += name.length + value.length
  return length
}

async function* metered(
  chunks: AsyncGenerator<Buffer>,
  sent: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    sent(chunk.length)
    yield chunk
  }
}

function hostHeader({scheme, host, port}: RequestFacts): string {
  return port === (scheme === 'https' ? 443 : 80) ? host : `${host}:${port}`
}

/** The answer must be readable for the scrubber, and whole: a range could cut a value in two. */
function plainAnswer(headers: Headers): Headers {
  const kept = headers.filter(
    ([name]) =>
      !['accept-encoding', 'grpc-accept-encoding', 'range', 'if-range'].includes(name.toLowerCase()),
  )
  return [...kept, ['accept-encoding', 'identity']]
}
