import type {EgressRequest} from '../policy/decide-egress.js'
import type {AgentRequest, AgentResponse} from './agent.js'
import type {AuditEvent} from './audit/record.js'
import type {Budget} from './budget/budget.js'
import type {Dialer} from './dial.js'
import type {Enforcement} from './enforcement.js'
import type {RequestFacts} from './facts.js'
import type {HeldBytes} from './held.js'
import type {Limits} from './limits.js'
import type {SyntheticNames} from './names/synthetic.js'
import type {Upstreams} from './upstreams.js'
import type {Tunnel} from './websocket/tunnel.js'

/** What becomes the audit record; every step adds what it knows. */
export type Note = AuditEvent

/** One request on its way: the same grant from the first step to the last, whatever is swapped meanwhile. */
export interface Visit {
  request: AgentRequest
  response: AgentResponse
  facts: RequestFacts
  enforcement: Enforcement
  /** what the policy was asked and allowed, to be asked again when it changes; empty until then */
  judged: readonly EgressRequest[]
  upstreams: Upstreams
  names: SyntheticNames
  limits: Limits
  budget: Budget
  dialer: Dialer
  held: HeldBytes
  note: Note
  /** answers `Expect: 100-continue`, when asked; called once the body may come */
  sendContinue: () => void
  /** there when the agent asked for a WebSocket */
  tunnel: Tunnel | undefined
}
