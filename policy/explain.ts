import {CageError, ExitCode} from '../core/errors.js'
import {canonicalAuthority, canonicalTarget, isRefused} from './canonical.js'
import {compileRules, usedPresets} from './compile.js'
import {compileEgress, type EgressReason} from './decide-egress.js'
import {dispatcherHosts} from './dispatcher-hosts.js'
import {decideWithRoutes} from './models.js'
import type {ProjectSettings} from './settings.js'
import type {AgentNeeds} from './shipped-agents.js'

/** What the policy says to one request, with the reason in words. The same functions decide in the sidecar. */
export interface Explanation {
  decision: 'allow' | 'deny' | 'audit'
  rule: string | null
  reason: string
}

const reasons: Record<EgressReason, string> = {
  allowed: 'a rule allows it',
  audited: 'let through, recorded as "would be denied"',
  denied_by_rule: 'a rule denies it: deny beats allow',
  git_push_outside_dispatcher: 'git pushes go through the dispatcher only',
  dns_over_https: 'DNS over HTTPS needs a rule that names its path',
  host_not_allowed: 'no rule names this host',
  port_not_allowed: 'rules for this host name other ports',
  method_not_allowed: 'rules for this host and port name other methods',
  path_not_allowed: 'rules for this host, port and method name other paths',
  url_too_long: 'the address is longer than the rule allows',
  websocket_not_allowed: 'no rule here opens a WebSocket',
  mcp_not_allowed: 'no rule here allows this MCP call',
}

/** Errors: USAGE, exit 2, for an address that no request can have. */
export function explain(
  settings: Pick<ProjectSettings, 'egress' | 'repository'>,
  agent: Pick<AgentNeeds, 'presets'>,
  method: string,
  url: string,
): Explanation {
  const {scheme, host, port, path, query} = parseUrl(url)
  if (dispatcherHosts(settings.repository).includes(host))
    return {decision: 'allow', rule: 'builtin:dispatcher', reason: 'goes to the dispatcher, which decides'}
  const matcher = compileEgress(compileRules(settings.egress, usedPresets(settings, agent)))
  const websocket = /^wss?:/i.test(url)
  const request = {scheme, host, port, method: method.toUpperCase(), path, query, websocket}
  const isRoute = settings.egress.routes.some(({name}) => name === host)
  const decided = decideWithRoutes(matcher, isRoute, request)
  if (decided.rule === `route:${host}`)
    return {decision: 'allow', rule: decided.rule, reason: 'a route leads there'}
  return {decision: decided.decision, rule: decided.rule, reason: reasons[decided.reason]}
}

interface ParsedUrl {
  scheme: 'https' | 'http'
  host: string
  port: number
  path: string
  query: string
}

function parseUrl(url: string): ParsedUrl {
  const match = /^(?:(https?|wss?):\/\/)?([^/?#]+)([^#]*)$/i.exec(url)
  const scheme = /^(?:http|ws)$/i.test(match?.[1] ?? 'https') ? 'http' : 'https'
  const authority = canonicalAuthority(match?.[2] ?? '', scheme === 'http' ? 80 : 443)
  const rest = match?.[3] ?? ''
  const target = canonicalTarget(rest.startsWith('/') ? rest : `/${rest}`)
  const problem = isRefused(authority) ? authority.refused : isRefused(target) ? target.refused : undefined
  if (isRefused(authority) || isRefused(target))
    throw new CageError(`no request can have the address ${JSON.stringify(url)}: ${problem ?? ''}`, {
      code: 'USAGE',
      exitCode: ExitCode.usage,
      hints: ['Give an address such as https://api.example.com/v1/items.'],
    })
  return {scheme, host: authority.host, port: authority.port, ...target}
}
