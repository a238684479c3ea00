import {handleHeader} from '../core/layout.js'
import {untouched} from './body.js'
import {Denial} from './denial.js'
import {forward, type Outcome} from './forward.js'
import {Inspection} from './inspect.js'
import type {Visit} from './visit.js'

/**
 * Hands a request for git or the forge to the dispatcher, with the task's handle in place of whatever the agent
 * showed. Content is the dispatcher's to judge: bodies pass as they are, coded or not, in both directions; only cage's
 * own values are looked for in address and headers. Throws Denial.
 */
export async function relayToDispatcher(visit: Visit): Promise<Outcome> {
  const {facts, enforcement, note, request, response} = visit
  if (facts.scheme !== 'https' || facts.port !== 443) throw new Denial('port_not_allowed')
  const headers = facts.headers.filter(([name]) => name.toLowerCase() !== 'authorization')
  const inspection = new Inspection(enforcement.detectors(facts, false))
  inspection.head(facts, headers)
  Object.assign(note, {
    path: facts.path,
    to: 'dispatcher',
    decision: 'allow',
    reason: 'dispatcher',
    rule: 'builtin:dispatcher',
  })
  if (facts.hasBody) visit.sendContinue()
  const upstream = visit.upstreams.get('dispatcher', () => visit.dialer.dialDispatcher(enforcement))
  return forward(
    upstream.http1,
    {
      method: facts.method,
      path: facts.rawTarget,
      headers: [['host', facts.host], ...headers, [handleHeader, enforcement.handle]],
      body: facts.hasBody ? untouched(request) : null,
      ...(facts.contentLength === undefined ? {} : {length: facts.contentLength}),
    },
    request,
    response,
  )
}
