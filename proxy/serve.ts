import {Ledger} from './audit/ledger.js'
import {Budget} from './budget/budget.js'
import {Counters} from './budget/counters.js'
import {openAuthority} from './certificates/authority.js'
import {Leaves} from './certificates/leaves.js'
import {publishTrust, readSystemRoots} from './certificates/publish.js'
import {startControl} from './control.js'
import {CageError} from '../core/errors.js'
import {sidecarPort} from '../core/layout.js'
import {Dialer} from './dial.js'
import {Exchange} from './exchange.js'
import {Grants} from './grants.js'
import {HeldBytes} from './held.js'
import {createHealthServer, statusOf} from './health.js'
import {Interceptor} from './intercept.js'
import {Limits} from './limits.js'
import {closed, listen, startListeners} from './listeners.js'
import {Metrics} from './metrics.js'
import {startResponder} from './names/responder.js'
import {SyntheticNames} from './names/synthetic.js'
import {nameAnswers} from './names/policy.js'
import {Records} from './records.js'

/** Fits into the container's memory with the process itself. */
const MAX_HELD_BYTES = 128 * 1024 * 1024
/** How long something that runs may go on after the time of its task. */
const OVERTIME_MS = 1000

export interface ServeOptions {
  /** SPKI DER of the project's Ed25519 key */
  grantKey: Buffer
  grantDirectory: string
  stateDirectory: string
  ledgerDirectory: string
  trustDirectory: string
  controlSocket: string
  /** PEM file of the public roots */
  systemRoots: string
}

export interface Sidecar {
  close(): Promise<void>
}

/**
 * Starts the sidecar: everything it needs is there before the first port opens, and what is missing throws. A grant
 * that is missing or not valid does not: then it runs, denies all, and says why.
 */
export async function serve(options: ServeOptions): Promise<Sidecar> {
  const authority = openAuthority(options.stateDirectory, Date.now())
  const systemRoots = readSystemRoots(options.systemRoots)
  publishTrust(options.trustDirectory, authority.certificate, systemRoots)
  const ledger = await Ledger.open(options.ledgerDirectory)
  const counters = await Counters.open(options.ledgerDirectory)
  const budget = new Budget(counters)
  budget.keepTime()
  const metrics = new Metrics()
  const records = new Records(ledger, metrics)
  const names = new SyntheticNames(options.stateDirectory)
  const grants = new Grants(options.grantKey, options.stateDirectory)
  const noteGrant = () => {
    const {state} = grants
    if (state.kind === 'closed')
      records.write({kind: 'grant', decision: 'deny', reason: state.reason, detail: state.detail})
    else
      records.write({
        kind: 'grant',
        decision: 'allow',
        reason: 'grant_in_force',
        revision: state.enforcement.grant.revision,
      })
  }
  grants.load(options.grantDirectory)
  noteGrant()

  const exchange = new Exchange({
    grants,
    names,
    limits: new Limits(Date.now, counters),
    budget,
    held: new HeldBytes(MAX_HELD_BYTES),
    dialer: new Dialer(systemRoots),
    records,
  })
  const leaves = new Leaves(authority)
  const interceptor = new Interceptor(exchange, leaves, records)
  metrics.gauge('running', () => exchange.running)
  metrics.gauge('leaves', () => leaves.size)
  metrics.gauge('grant_revision', () => grants.highestSeen)
  metrics.gauge('admitting', () => (grants.state.kind === 'open' && ledger.admitting ? 1 : 0))
  metrics.gauge('resident_memory_bytes', () => process.memoryUsage.rss())
  const overtime = setInterval(() => {
    const {state} = grants
    if (state.kind === 'open' && budget.isOvertime(state.enforcement.grant.budget)) exchange.endOvertime()
  }, OVERTIME_MS).unref()
  let started = false
  const health = createHealthServer({grants, ledger, budget, metrics, started: () => started})
  const control = await startControl(options.controlSocket, {
    'grant.put': ({part, credentials}) => {
      try {
        const enforcement = grants.put(part, credentials)
        noteGrant()
        exchange.reconsider(enforcement)
        return {revision: enforcement.grant.revision}
      } catch (error) {
        const reason = error instanceof CageError ? error.code.toLowerCase() : 'grant_invalid'
        records.write({kind: 'grant', decision: 'deny', reason, detail: String(error)})
        throw error
      }
    },
    status: () => statusOf({grants, ledger, budget, started: () => started}),
  })
  const responder = await startResponder(sidecarPort.dns, nameAnswers(grants, names, records))
  const listeners = await startListeners({exchange, interceptor, names, records})
  await listen(health, sidecarPort.health)
  started = true
  records.write({kind: 'sidecar', decision: 'allow', reason: 'started'})
  return {
    close: async () => {
      records.write({kind: 'sidecar', decision: 'allow', reason: 'stopped'})
      clearInterval(overtime)
      await Promise.all([listeners.close(), responder.close(), closed(health), closed(control)])
      await budget.close()
      await counters.close()
      await ledger.close()
    },
  }
}
