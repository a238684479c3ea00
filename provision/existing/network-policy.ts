import type {Clock} from '../../core/clock.js'
import {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {annotation, clusterNames} from '../../core/layout.js'
import type {CallOptions, Cluster, ObjectRef} from '../../kube/cluster.js'
import {policyProbe, probePod, type PolicyProbeView} from '../../manifests/policy-probe.js'
import type {Step, StepTools} from '../pipeline.js'
import {refOf} from '../steps/applied.js'
import {knock} from './knock.js'
import {claimNamespace, isOwn} from './ownership.js'

/**
 * `enforced`: a pod reached the API server, not while a policy denied it, and again without the policy.
 * `open`: it went on reaching it. `unproven`: its silence had another cause, so that it says nothing about policies.
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

/** Finds out whether the cluster enforces NetworkPolicy, and notes it where `cage status` reads it. */
export function networkPolicyStep(options: {
  id: string
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
      const noted = await notedEnforcement(await options.cluster(), id, {signal})
      return noted !== undefined && options.clock.now() - noted.at < HOLDS_MS[noted.found]
    },
    act: async (tools) => {
      const cluster = await options.cluster()
      const view = await options.probe()
      const found = await probe(
        cluster,
        {id, owner: await options.owner(), view, clock: options.clock},
        tools,
      )
      const at = new Date(options.clock.now()).toISOString()
      const annotations = {[annotation.networkPolicy]: `${found} ${at}`}
      await cluster.patch(taskNamespace(id), {metadata: {annotations}}, {signal: tools.signal})
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

/** `ADDRESS:PORT` of the API server's service: pods reach it in every cluster unless something stops them. */
export async function apiAddress(cluster: Cluster, options: CallOptions = {}): Promise<string> {
  const ref = {apiVersion: 'v1', kind: 'Service', name: 'kubernetes', namespace: 'default'}
  const service = await cluster.get<KubeObject & {spec?: {clusterIP?: string}}>(ref, options)
  if (service?.spec?.clusterIP) return `${service.spec.clusterIP}:443`
  throw new CageError('the cluster has no service `kubernetes`', {code: 'CLUSTER_INVALID'})
}

interface ProbedPod extends KubeObject {
  status?: {phase?: string}
}

async function probe(
  cluster: Cluster,
  options: {id: string; owner: string; view: PolicyProbeView; clock: Clock},
  {signal, detail}: StepTools,
): Promise<Enforcement> {
  const {id, owner, view, clock} = options
  const namespace = clusterNames.probeNamespace(id)
  const {pod, deny} = policyProbe(view)
  const ref = {apiVersion: 'v1', kind: 'Namespace', name: namespace}
  const wait = {wait: {deadlineMs: GONE_MS}}
  // What an earlier run left would answer for its own policy.
  if (await isOwn(cluster, namespace, owner, {signal})) await cluster.delete(ref, {...wait, signal})
  await claimNamespace(cluster, {id, owner, name: namespace, podSecurity: 'restricted'}, {signal})
  const target = await apiAddress(cluster, {signal})
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
    if (!(await comesTo(true))) return 'unproven'
    detail('denying it the network')
    await cluster.apply(deny, {signal})
    if (!(await comesTo(false))) return 'open'
    detail('letting it out again')
    for (const object of deny) await cluster.delete(refOf(object), {signal})
    return (await comesTo(true)) ? 'enforced' : 'unproven'
  } finally {
    await cluster.delete(ref, wait).catch(() => undefined)
  }
}

function taskNamespace(id: string): ObjectRef {
  return {apiVersion: 'v1', kind: 'Namespace', name: clusterNames.taskNamespace(id)}
}
