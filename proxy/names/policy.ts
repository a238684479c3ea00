import {canonicalHost, isRefused} from '../../policy/canonical.js'
import type {Grants} from '../grants.js'
import type {Records} from '../records.js'
import {recordType} from './message.js'
import type {AddressOf} from './responder.js'
import type {SyntheticNames} from './synthetic.js'

/**
 * Which names exist in this pod: those that the grant lets something be said to. All others do not exist, whoever
 * asks and whichever resolver was meant.
 */
export function nameAnswers(grants: Grants, names: SyntheticNames, records: Records): AddressOf {
  return (name, type) => {
    const refuse = (reason: string): string | undefined => {
      // IPv6 is asked for beside every IPv4 address; one record is enough.
      if (type !== recordType.AAAA) records.writeOnce({kind: 'name', decision: 'deny', reason, host: name})
      return undefined
    }
    const {state} = grants
    if (state.kind === 'closed') return refuse(state.reason)
    if (!records.admitting) return refuse('audit_unavailable')
    const canonical = canonicalHost(name)
    if (isRefused(canonical) || canonical.kind !== 'name' || canonical.host !== name)
      return refuse('host_syntax')
    const known = state.enforcement.knowsName(name)
    if (!known) return refuse('host_not_allowed')
    return names.admit(name, known.wildcard) ?? refuse('name_budget')
  }
}
