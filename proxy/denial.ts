import {CageError, ExitCode} from '../core/errors.js'

export interface DenialOptions {
  /** of the HTTP answer; default 403 */
  status?: number
  rule?: string | null
  /** overrides the sentence that belongs to the reason */
  hint?: string
  /** for the audit only, never for the agent */
  detail?: string
  /** it was allowed, but could not be done */
  failed?: boolean
}

/** A request that must not go on: `reason` is stable, lower snake case, the same in answer, audit and metrics. */
export class Denial extends CageError {
  readonly reason: string
  readonly status: number
  readonly rule: string | null
  readonly detail: string | undefined
  readonly failed: boolean

  constructor(reason: string, options: DenialOptions = {}) {
    super(reason, {code: 'DENIED', exitCode: ExitCode.denied, hints: [options.hint ?? hintFor(reason)]})
    this.reason = reason
    this.status = options.status ?? 403
    this.rule = options.rule ?? null
    this.detail = options.detail
    this.failed = options.failed ?? false
  }
}

const hints: Record<string, string> = {
  address_not_public:
    'The name leads to a private or special address, alone or among others. Only the operator can open one.',
  audit_unavailable: 'The audit log cannot be written, so nothing may leave. Tell the person.',
  body_encoding: 'Send the body without Content-Encoding, or with one of gzip, deflate, br.',
  body_over_limit: 'Send less in one request.',
  budget_spent:
    'The budget of this task is spent: trying again does not help. Say what is left to do; only the person can raise it.',
  budget_unavailable: 'What was spent cannot be written down, so nothing may be spent. Tell the person.',
  budget_unmetered:
    'This task has a budget, and what this call costs cannot be counted. Use messages, chat completions or responses.',
  credential_foreign:
    'Use the value that the environment variable holds, in its header, and no credential of your own.',
  credential_missing: 'The credential has no value on the side of the person. Tell the person.',
  credential_unsupported:
    'Sign with AWS Signature Version 4 and the key id that the environment variable holds.',
  grant_invalid: 'The grant of this task is not valid, so nothing may leave. Tell the person.',
  grant_missing: 'This task has no grant, so nothing may leave. Tell the person.',
  grant_outdated:
    'The grant is older than one seen before, so nothing may leave until the current one arrives.',
  host_not_allowed:
    'The policy names no such host. Go on without it, or ask the person to add it to cage.yaml.',
  host_budget: 'This task has read from as many different hosts as it may.',
  name_budget: 'Too many different names, or a name too long, under a wildcard.',
  placeholder_unbound: 'A placeholder may stand only in its own header on its own host.',
  rate_limited: 'Wait, then try again.',
  scan_budget: 'The content takes too long to check. Send it in smaller parts.',
  secret_found: 'The request holds what looks like a secret. Remove it.',
  target_mismatch: 'CONNECT, TLS name and Host must name the same host and port.',
  upstream_unreachable: 'The host did not answer. Try again later.',
  dispatcher_unavailable: 'The git door of this project does not answer at the moment. Try again.',
  websocket_not_allowed: 'A rule with `websocket: true` would allow it.',
}

function hintFor(reason: string): string {
  return hints[reason] ?? 'The policy of this task does not allow it. Ask the person if it is needed.'
}

/** What the agent reads. */
export interface DenialFacts {
  requestId: string
  method?: string
  host?: string
  port?: number
}

/** JSON, or for git, which shows only plain text to its user, one line. */
export function denialBody(denial: Denial, facts: DenialFacts, plain: boolean): {type: string; body: Buffer} {
  const hint = denial.hints[0] ?? ''
  if (plain) {
    const text = `cage: ${denial.failed ? 'failed' : 'denied'}: ${denial.reason}. ${hint} (request ${facts.requestId})\n`
    return {type: 'text/plain; charset=utf-8', body: Buffer.from(text)}
  }
  const {requestId, ...rest} = facts
  const json = {
    error: denial.failed ? 'cage_failed' : 'cage_denied',
    reason: denial.reason,
    rule: denial.rule,
    request_id: requestId,
    hint,
    ...rest,
  }
  return {type: 'application/json', body: Buffer.from(`${JSON.stringify(json)}\n`)}
}

/** A whole HTTP/1.1 answer for a connection that ends with it. */
export function lastAnswer(denial: Denial, facts: DenialFacts): Buffer {
  const {type, body} = denialBody(denial, facts, false)
  const lines = [
    `HTTP/1.1 ${denial.status} Denied`,
    `content-type: ${type}`,
    `content-length: ${body.length}`,
    'connection: close',
    '',
    '',
  ]
  return Buffer.concat([Buffer.from(lines.join('\r\n')), body])
}
