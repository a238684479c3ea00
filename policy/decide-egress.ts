import {compileGlob} from './glob.js'
import type {EgressRule} from './grant.js'

/** One request in canonical form (policy/canonical.ts). One MCP message each: a batch is decided message by message. */
export interface EgressRequest {
  host: string
  port: number
  scheme: 'https' | 'http'
  /** upper case as on the wire */
  method: string
  path: string
  query?: string
  websocket?: boolean
  /** `content-type` of the request, lower case without parameters */
  contentType?: string
  /** `accept` of the request as sent */
  accept?: string
  mcp?: {method: string; tool?: string}
}

export type EgressReason =
  | 'allowed'
  | 'audited'
  | 'denied_by_rule'
  | 'git_push_outside_dispatcher'
  | 'dns_over_https'
  | 'host_not_allowed'
  | 'port_not_allowed'
  | 'method_not_allowed'
  | 'path_not_allowed'
  | 'url_too_long'
  | 'websocket_not_allowed'
  | 'mcp_not_allowed'

export interface EgressDecision {
  /** `audit` = let through and recorded as "would be denied" */
  decision: 'allow' | 'deny' | 'audit'
  /** id of the rule that decided; null = nothing matched */
  rule: string | null
  reason: EgressReason
  /** all rules that matched with the deciding effect, for rates */
  matched: readonly EgressRule[]
}

export interface EgressMatcher {
  decide(request: EgressRequest): EgressDecision
  /** whether any rule lets anything through to this host: what DNS may answer for */
  knowsHost(host: string): boolean
  /** whether an exact rule, not only a wildcard, names the host */
  namesHost(host: string): boolean
  /** whether requests to this place have to be read as MCP before they can be decided */
  inspectsMcp(place: Pick<EgressRequest, 'host' | 'port' | 'path'>): boolean
}

interface CompiledRule {
  rule: EgressRule
  methods: ReadonlySet<string> | undefined
  paths: readonly ((path: string) => boolean)[] | undefined
}

/** For how many hosts it is remembered which rules can speak of them. */
const MAX_KNOWN_HOSTS = 1024

/** Without a list of its own an MCP rule lets through only what a client needs to call the tools it names. */
const mcpDefaultMethods: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'notifications/initialized',
  'notifications/cancelled',
  'tools/list',
  'tools/call',
])

/** Rules are a set: deny beats allow beats audit, nothing matched = denied; their order decides nothing. */
export function compileEgress(rules: readonly EgressRule[]): EgressMatcher {
  const exact = new Map<string, CompiledRule[]>()
  const suffixes = new Map<string, CompiledRule[]>()
  for (const rule of [...rules].sort((a, b) => (a.id < b.id ? -1 : Number(a.id > b.id)))) {
    const wild = rule.host.startsWith('*.')
    const index = wild ? suffixes : exact
    const key = wild ? rule.host.slice(2) : rule.host
    const entry = {
      rule: Object.freeze(structuredClone(rule)),
      methods: rule.methods && new Set(rule.methods),
      paths: rule.paths?.map((path) => compileGlob(path)),
    }
    const list = index.get(key)
    if (list) list.push(entry)
    else index.set(key, [entry])
  }

  const known = new Map<string, readonly CompiledRule[]>()
  const candidates = (host: string): readonly CompiledRule[] => {
    let found = known.get(host)
    if (found) return found
    // Hosts are the agent's to choose.
    if (known.size >= MAX_KNOWN_HOSTS) known.clear()
    found = find(host)
    known.set(host, found)
    return found
  }
  const find = (host: string): CompiledRule[] => {
    const found = [...(exact.get(host) ?? []), ...(isName(host) ? (exact.get('*') ?? []) : [])]
    for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1))
      found.push(...(suffixes.get(host.slice(dot + 1)) ?? []))
    return found
  }

  const opens = (entry: CompiledRule) => entry.rule.effect !== 'deny'
  return Object.freeze({
    decide: (request: EgressRequest) => decide(candidates(request.host), request),
    knowsHost: (host: string) => candidates(host).some(opens),
    namesHost: (host: string) => (exact.get(host) ?? []).some(opens),
    inspectsMcp: ({host, port, path}: Pick<EgressRequest, 'host' | 'port' | 'path'>) =>
      candidates(host).some(
        ({rule, paths}) =>
          rule.mcp !== undefined &&
          rule.port === port &&
          (paths === undefined || paths.some((fits) => fits(path))),
      ),
  })
}

/** For one decision; compile once where many are made. */
export function decideEgress(rules: readonly EgressRule[], request: EgressRequest): EgressDecision {
  return compileEgress(rules).decide(request)
}

function decide(candidates: readonly CompiledRule[], request: EgressRequest): EgressDecision {
  if (isGitPush(request)) return denied('git_push_outside_dispatcher', 'builtin:git-receive-pack')
  const deny: EgressRule[] = []
  const allow: EgressRule[] = []
  const audit: EgressRule[] = []
  const byEffect = {deny, allow, audit}
  for (const entry of candidates) if (matches(entry, request)) byEffect[entry.rule.effect].push(entry.rule)
  if (deny[0]) return {decision: 'deny', rule: deny[0].id, reason: 'denied_by_rule', matched: deny}
  if (isDnsOverHttps(request)) {
    const open = [...allow, ...audit]
    if (open.length > 0 && !open.some((rule) => rule.paths !== undefined))
      return denied('dns_over_https', 'builtin:dns-over-https')
  }
  if (allow[0]) return {decision: 'allow', rule: allow[0].id, reason: 'allowed', matched: allow}
  if (audit[0]) return {decision: 'audit', rule: audit[0].id, reason: 'audited', matched: audit}
  return denied(whyNothingMatched(candidates, request), null)
}

function denied(reason: EgressReason, rule: string | null): EgressDecision {
  return {decision: 'deny', rule, reason, matched: []}
}

function matches(entry: CompiledRule, request: EgressRequest): boolean {
  return aspects.every((aspect) => aspect.fits(entry, request))
}

/** What a rule can ask of a request, from the outside in; the first that no rule meets names the reason. */
const aspects: readonly {
  reason: EgressReason
  fits: (entry: CompiledRule, request: EgressRequest) => boolean
}[] = [
  {
    reason: 'port_not_allowed',
    fits: ({rule}, request) => rule.port === request.port && rule.scheme === request.scheme,
  },
  {
    reason: 'method_not_allowed',
    fits: ({methods}, request) => methods === undefined || methods.has(request.method),
  },
  {
    reason: 'path_not_allowed',
    fits: ({paths}, request) => paths === undefined || paths.some((fits) => fits(request.path)),
  },
  {
    reason: 'url_too_long',
    fits: ({rule}, request) =>
      rule.effect === 'deny' ||
      rule.urlBytes === undefined ||
      request.path.length + (request.query ?? '').length <= rule.urlBytes,
  },
  {
    reason: 'websocket_not_allowed',
    fits: ({rule}, request) =>
      rule.effect === 'deny'
        ? rule.websocket !== true || request.websocket === true
        : request.websocket !== true || rule.websocket === true,
  },
  {reason: 'mcp_not_allowed', fits: ({rule}, request) => mcpFits(rule, request)},
]

function mcpFits(rule: EgressRule, request: EgressRequest): boolean {
  if (rule.mcp === undefined) return true
  const {methods, tools} = rule.mcp
  const call = request.mcp
  if (rule.effect === 'deny') {
    if (call === undefined) return false
    if (tools !== undefined && (call.method !== 'tools/call' || !tools.includes(call.tool ?? '')))
      return false
    return methods === undefined || methods.includes(call.method)
  }
  // The event stream (GET) and the end of a session (DELETE) carry no message.
  if (call === undefined) return request.method === 'GET' || request.method === 'DELETE'
  if (!(methods === undefined ? mcpDefaultMethods.has(call.method) : methods.includes(call.method)))
    return false
  return call.method !== 'tools/call' || tools === undefined || tools.includes(call.tool ?? '')
}

function whyNothingMatched(candidates: readonly CompiledRule[], request: EgressRequest): EgressReason {
  let left = candidates.filter(({rule}) => rule.effect !== 'deny')
  if (left.length === 0) return 'host_not_allowed'
  for (const {reason, fits} of aspects) {
    left = left.filter((entry) => fits(entry, request))
    if (left.length === 0) return reason
  }
  return 'host_not_allowed'
}

/** Any name is no address: those are opened one by one. */
function isName(host: string): boolean {
  return !host.includes(':') && !/^[0-9.]+$/.test(host)
}

/** Pushes go to the dispatcher; on every other host they are refused whatever the rules say. */
function isGitPush(request: EgressRequest): boolean {
  const path = request.path.toLowerCase()
  if (path.endsWith('/git-receive-pack')) return true
  if (!path.endsWith('/info/refs')) return false
  return new URLSearchParams(request.query ?? '')
    .getAll('service')
    .some((service) => service.trim().toLowerCase() === 'git-receive-pack')
}

/** By what it says it is, by the usual path, or by a DNS message in the address (RFC 8484, 4.1). */
function isDnsOverHttps({host, path, query = '', contentType = '', accept = ''}: EgressRequest): boolean {
  if (/application\/dns-(?:message|json)/i.test(`${contentType} ${accept}`)) return true
  if (/\/dns-query(?:\/|$)/i.test(path)) return true
  if (/^(?:dns|doh)[.-]/.test(host) && path === '/resolve') return true
  return query.includes('dns=') && new URLSearchParams(query).getAll('dns').some(isDnsQuery)
}

/** Whether a text is a DNS query in base64url: no answer, one question, none of the other records that come before the last kind. */
function isDnsQuery(text: string): boolean {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.length < 17 || /[^\w=-]/.test(text)) return false
  return ((bytes[2] ?? 0) & 0x80) === 0 && bytes.readUInt16BE(4) === 1 && bytes.readUInt32BE(6) === 0
}
