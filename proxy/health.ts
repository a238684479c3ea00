import {createServer, type Server} from 'node:http'
import type {Budget, Spend} from './budget/budget.js'
import type {Ledger} from './audit/ledger.js'
import type {Grants} from './grants.js'
import type {Metrics} from './metrics.js'

export interface HealthParts {
  grants: Grants
  ledger: Ledger
  budget: Budget
  metrics: Metrics
  /** that every listener is up */
  started: () => boolean
}

export interface Status {
  started: boolean
  admitting: boolean
  /** of the grant in force; undefined = closed */
  revision: number | undefined
  highestRevision: number
  /** why everything is denied; undefined = it is not */
  closed: string | undefined
  audit: {seq: number; hash: string}
  spend: Spend
}

export function statusOf({grants, ledger, budget, started}: Omit<HealthParts, 'metrics'>): Status {
  const {state} = grants
  const closed =
    state.kind === 'closed'
      ? `${state.reason}: ${state.detail}`
      : ledger.failure && `audit_unavailable: ${ledger.failure}`
  return {
    started: started(),
    admitting: closed === undefined && started(),
    revision: state.kind === 'open' ? state.enforcement.grant.revision : undefined,
    highestRevision: grants.highestSeen,
    closed,
    audit: ledger.head,
    spend: budget.spend,
  }
}

/** For the kubelet and the person; the fence keeps the agent away. Says nothing about hosts or content. */
export function createHealthServer(parts: HealthParts): Server {
  return createServer((request, response) => {
    const status = statusOf(parts)
    const answers: Record<string, () => [status: number, text: string]> = {
      '/livez': () => [200, 'ok\n'],
      '/metrics': () => [200, parts.metrics.text()],
      '/readyz': () => (status.admitting ? [200, 'ok\n'] : [503, `${status.closed ?? 'starting'}\n`]),
      '/startupz': () => (status.started ? [200, 'ok\n'] : [503, 'starting\n']),
    }
    const [code, text] = answers[request.url ?? '']?.() ?? [404, 'not found\n']
    response.writeHead(code, {'content-type': 'text/plain; charset=utf-8'}).end(text)
  })
}
