import type {Clock} from '../../core/clock.js'
import {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {annotation, clusterNames} from '../../core/layout.js'
import type {CallOptions, Cluster, ObjectRef} from '../../kube/cluster.js'
import {policyProbe, probePod, type PolicyProbeView} from '../../manifests/policy-probe.js'
import {claimNamespace, isOwn} from '../existing/ownership.js'
import type {Step, StepTools} from '../pipeline.js'
import {refOf} from './applied.js'
import {dispatcherAddress} from './dispatcher.js'
import {knock} from './knock.js'

/**
 * `enforced`: a pod reached the dispatcher while a policy let it in, not while another one denied it the way out, and no
 * more once nothing let it in. `open`: it went on reaching it. `unproven`: its silence had another cause, so that it says
 * nothing about policies.
 */
export type Enforcement = 'enforced' | 'open' | 'unproven'

/** What a probe found, and when: an engine may come, go or be changed. */
export interface NotedEnforcement {
  found: Enforcement
  /** milliseconds since 1970 */
  at: number
}

/** A finding that is older is looked at again by `cage up`; one that somebody may be mending, sooner. */
const HOLDS_MS: Readonly<Record<Enforcement, number>> = {
  enforced: 24 * 60 * 60_000,
  open: 15 * 60_000,
  unproven: 15 * 60_000,
}
const POD_MS = 120_000
/** Engines take a moment to act. */
const SETTLES_MS = 20_000
const GONE_MS = 120_000

/**
 * Finds out whether the cluster enforces NetworkPolicy, and notes it where `cage status` reads it.
 * Errors: NETWORK_POLICY_OPEN where an engine that promises it does not.
 */
export function networkPolicyStep(options: {
  id: string
  /** what is known of the cluster's engine: with `none` there is nothing to try */
  engine: () => Promise<'none' | 'promised' | 'unknown'>
  owner: () => Promise<string>
  cluster: () => Promise<Cluster>
  probe: () => Promise<PolicyProbeView>
  clock: Clock
}): Step {
  const {id} = options
  return {
    name: 'network policy',
    deadlineMs: 300_000,
    hints: ['Run `cage up` again.'],
    check: async ({signal}) => {
      const engine = await options.engine()
      if (engine === 'none') return true
      const noted = await notedEnforcement(await options.cluster(), id, {signal})
      if (noted === undefined || options.clock.now() - noted.at >= HOLDS_MS[noted.found]) return false
      return noted.found === 'enforced' || engine === 'unknown'
    },
    act: async (tools) => {
      const cluster = await options.cluster()
      const view = await options.probe()
      const found = await tryNetworkPolicy(
        cluster,
        {id, owner: await options.owner(), view, clock: options.clock},
        tools,
      )
      const at = new Date(options.clock.now()).toISOString()
      const annotations = {[annotation.networkPolicy]: `${found} ${at}`}
      await cluster.patch(taskNamespace(id), {metadata: {annotations}}, {signal: tools.signal})
      if (found === 'open' && (await options.engine()) === 'promised') throw open()
      return found
    },
    verify: async ({signal}) => (await notedEnforcement(await options.cluster(), id, {signal})) !== undefined,
  }
}

/** What the last probe found; undefined = none ran. */
export async function notedEnforcement(
  cluster: Cluster,
  id: string,
  options: CallOptions = {},
): Promise<NotedEnforcement | undefined> {
  const namespace = await cluster.get(taskNamespace(id), options)
  const [found, time = ''] = namespace?.metadata.annotations?.[annotation.networkPolicy]?.split(' ') ?? []
  const at = Date.parse(time)
  if (Number.isNaN(at)) return undefined
  return found === 'enforced' || found === 'open' || found === 'unproven' ? {found, at} : undefined
}

function open(): CageError {
  return new CageError('the cluster takes NetworkPolicy and does not enforce it', {
    code: 'NETWORK_POLICY_OPEN',
    hints: [
      'Run `cage machine ssh -- kubectl -n kube-system get pods` to see the network engine.',
      'Run `cage down`, then `cage up`.',
    ],
  })
}

interface ProbedPod extends KubeObject {
  status?: {phase?: string}
}

/** Tries it now; nothing of the trial stays. */
export async function tryNetworkPolicy(
  cluster: Cluster,
  options: {id: string; owner: string; view: PolicyProbeView; clock: Clock},
  {signal, detail}: StepTools,
): Promise<Enforcement> {
  const {id, owner, view, clock} = options
  const namespace = clusterNames.probeNamespace(id)
  const {pod, allow, deny} = policyProbe(view)
  const ref = {apiVersion: 'v1', kind: 'Namespace', name: namespace}
  const wait = {wait: {deadlineMs: GONE_MS}}
  // What an earlier run left would answer for its own policy.
  if (await isOwn(cluster, namespace, owner, {signal})) await cluster.delete(ref, {...wait, signal})
  await claimNamespace(cluster, {id, owner, name: namespace, podSecurity: 'restricted'}, {signal})
  const target = `${await dispatcherAddress(cluster, id)}:443`
  const from = {namespace, pod: probePod, container: probePod}
  /** true when the pod came to answer, or to be silent, and stayed so for three knocks */
  const comesTo = async (answering: boolean): Promise<boolean> => {
    const end = clock.now() + SETTLES_MS
    let same = 0
    while (clock.now() < end) {
      const answers = (await knock(cluster, from, [target], signal)).length > 0
      same = answers === answering ? same + 1 : 0
      if (same === 3) return true
      await clock.sleep(500, signal)
    }
    return false
  }
  try {
    detail('starting a pod that knocks')
    for (const object of pod) await cluster.create(object, {signal})
    await cluster.waitFor<ProbedPod>(
      {apiVersion: 'v1', kind: 'Pod', name: probePod, namespace},
      (seen) => seen?.status?.phase === 'Running',
      {what: 'the pod that tries NetworkPolicy runs', deadlineMs: POD_MS, signal},
    )
    detail('letting it in')
    await cluster.apply(allow, {signal})
    if (!(await comesTo(true))) return 'unproven'
    detail('denying it the way out')
    await cluster.apply(deny, {signal})
    if (!(await comesTo(false))) return 'open'
    for (const object of deny) await cluster.delete(refOf(object), {signal})
    if (!(await comesTo(true))) return 'unproven'
    detail('letting it in no more')
    for (const object of allow) await cluster.delete(refOf(object), {signal})
    return (await comesTo(false)) ? 'enforced' : 'open'
  } finally {
    // Also when the person interrupts: no signal.
    for (const object of allow) await cluster.delete(refOf(object)).catch(() => undefined)
    await cluster.delete(ref, wait).catch(() => undefined)
  }
}

function taskNamespace(id: string): ObjectRef {
  return {apiVersion: 'v1', kind: 'Namespace', name: clusterNames.taskNamespace(id)}
}
