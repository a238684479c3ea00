import type {Heard} from '../../core/canary.js'
import type {Attack, Place, Targets} from './cases.js'

/** One case of the report. */
export interface VerifyCase {
  id: string
  class: string
  where: Place
  attack: string
  expect: string
  got: string
  ok: boolean
}

export interface Layer {
  name: 'fence' | 'firewall' | 'network policy' | 'admission policy' | 'seccomp' | 'user namespaces'
  /** `none`: there is nothing of the kind here */
  state: 'enforced' | 'NOT enforced' | 'none' | 'not tried'
  how: string
}

const GOT_LENGTH = 120
/** The attacker's own mistakes: nothing was tried. */
const STUMBLED =
  /^error: (AttributeError|IndexError|KeyError|NameError|TypeError|UnboundLocalError|ValueError|undefined)\b/

/**
 * Puts what was said and what was heard beside what must be. What reached a canary without belonging to any attempt counts
 * as a leak of its own; an attempt that said nothing was not made, and proves nothing.
 */
export function judge(
  list: readonly Attack[],
  said: ReadonlyMap<string, string>,
  {heard, token}: {heard: readonly (Heard & {where: string})[]; token: Targets['token']},
): VerifyCase[] {
  const cases = list.map((one) => {
    const {id, class: of, where, attack, expect, verdict} = one
    const spoken = said.get(id)
    const words = spoken !== undefined && STUMBLED.test(spoken) ? undefined : spoken
    const arrived = heard.filter(({text}) => text.includes(token(id)))
    const leaked = arrived.map((at) => `the canary on the ${at.where} heard it on ${at.protocol} ${at.port}`)
    const fits = verdict === 'no canary hears it' || (words !== undefined && verdict.test(words))
    return {
      id,
      class: of,
      where,
      attack,
      expect,
      got: words === undefined ? 'was not tried' : (leaked[0] ?? shown(verdict, words)),
      ok: words !== undefined && leaked.length === 0 && fits,
    }
  })
  const known = list.map(({id}) => token(id))
  // A connection without a word is the look-out's, which is judged by itself.
  const strangers = heard.filter(
    ({text}) => text !== '' && !text.startsWith('cv') && !known.some((one) => text.includes(one)),
  )
  return [
    ...cases,
    {
      id: 'CANARY-rest',
      class: 'OPEN',
      where: 'task',
      attack: 'anything else that reaches a canary',
      expect: 'nothing does',
      got: strangers.map(({where, protocol, port}) => `${where} ${protocol} ${port}`).join(', ') || 'nothing',
      ok: strangers.length === 0,
    },
  ]
}

function shown(verdict: Attack['verdict'], words: string): string {
  // What the verdict looks for deep inside says more than how the answer begins.
  const match = verdict === 'no canary hears it' ? null : verdict.exec(words)
  const line = (match && match.index > 0 ? match[0] : words).split(/[\r\n]/)[0] ?? ''
  const short = line.length > GOT_LENGTH ? `${line.slice(0, GOT_LENGTH)}…` : line
  return verdict === 'no canary hears it' ? `silence there; here ${short}` : short
}

/** What is enforced here, from what was tried. */
export function layersOf(
  cases: readonly VerifyCase[],
  list: readonly Attack[],
  {userMap, policy}: {userMap: string; policy: PolicyFinding},
): Layer[] {
  const byCases = (name: Layer['name'], ids: readonly string[], what: string): Layer => {
    const tried = cases.filter(({id}) => ids.includes(id))
    const broken = tried.filter(({ok}) => !ok)
    const holds = tried.length > 0 && broken.length === 0
    const how = holds ? `${tried.length} cases: ${what}` : `broken by ${broken.map(({id}) => id).join(', ')}`
    return {name, state: holds ? 'enforced' : 'NOT enforced', how}
  }
  const ofLayer = (layer: Attack['layer']) => list.filter((one) => one.layer === layer).map(({id}) => id)
  return [
    byCases('fence', ofLayer('fence'), 'the agent does not reach what the firewall lets pods reach'),
    byCases('firewall', ofLayer('firewall'), 'what has no fence does not reach them'),
    policyLayer(policy),
    byCases(
      'admission policy',
      cases.filter(({where}) => where === 'cluster API').map(({id}) => id),
      'pods of another shape are refused',
    ),
    byCases('seccomp', ofLayer('seccomp'), 'the kernel refuses these calls'),
    /^\s*0\s+[1-9]/.test(userMap)
      ? {name: 'user namespaces', state: 'enforced', how: 'root in a pod is nobody on the machine'}
      : {name: 'user namespaces', state: 'none', how: 'the runtime or the kernel of this machine cannot'},
  ]
}

/** What a pod found that one policy lets in and another silences; a task's own fence stands before any policy. */
export interface PolicyFinding {
  found: 'enforced' | 'open' | 'unproven'
  /** the cluster has an engine that promises it */
  promised: boolean
  /** what kept the trial from a finding; without it the pod was silent where it should not have been */
  obstacle?: string
}

function policyLayer({found, promised, obstacle}: PolicyFinding): Layer {
  const name = 'network policy'
  if (found === 'enforced')
    return {name, state: 'enforced', how: 'a pod came in by one policy and was silenced by another'}
  if (found === 'unproven')
    return {name, state: 'not tried', how: obstacle ?? 'the pod that tries it was silent for another reason'}
  return promised
    ? {name, state: 'NOT enforced', how: 'no policy stopped the pod that tried it'}
    : {
        name,
        state: 'none',
        how: 'no policy stopped the pod that tried it; the machine firewall drops the same',
      }
}
