import type {EgressDecision, EgressMatcher, EgressRequest} from './decide-egress.js'
import {compileGlob} from './glob.js'
import {presets} from './presets.js'

/** The name under which tasks reach models on computers of one's own. */
export const inferenceHost = 'inference.local'

const hosts: ReadonlySet<string> = new Set(Object.values(presets).flatMap(({modelHosts}) => modelHosts ?? []))

/** Whether cage knows the host as a provider of models: what it says about usage is believed. */
export function isModelHost(host: string): boolean {
  return hosts.has(host)
}

/** What model servers of both kinds answer to; the rest of them is for whoever runs them. */
const inferencePaths: Readonly<Record<string, readonly ((path: string) => boolean)[]>> = {
  GET: ['/v1/models', '/v1/models/*'].map((path) => compileGlob(path)),
  POST: [
    '/v1/messages',
    '/v1/messages/count_tokens',
    '/v1/chat/completions',
    '/v1/completions',
    '/v1/embeddings',
    '/v1/responses',
  ].map((path) => compileGlob(path)),
}

/** Rules decide; the name of a route is opened by the route and by rules that name it exactly, never by a wildcard. */
export function decideWithRoutes(
  matcher: EgressMatcher,
  isRoute: boolean,
  request: EgressRequest,
): EgressDecision {
  const decision = matcher.decide(request)
  const named =
    decision.rule !== null &&
    (decision.decision === 'deny' || decision.matched.some(({host}) => host === request.host))
  return isRoute && !named ? decideRoute(request) : decision
}

/** HTTPS on 443, and at `inference.local` the model APIs only. */
function decideRoute({host, scheme, port, method, path, websocket}: EgressRequest): EgressDecision {
  const denied = (reason: EgressDecision['reason']): EgressDecision => ({
    decision: 'deny',
    rule: null,
    reason,
    matched: [],
  })
  if (scheme !== 'https' || port !== 443) return denied('host_not_allowed')
  if (websocket) return denied('websocket_not_allowed')
  if (host === inferenceHost) {
    const paths = inferencePaths[method === 'HEAD' ? 'GET' : method]
    if (!paths) return denied('method_not_allowed')
    if (!paths.some((fits) => fits(path))) return denied('path_not_allowed')
  }
  return {decision: 'allow', rule: `route:${host}`, reason: 'allowed', matched: []}
}
