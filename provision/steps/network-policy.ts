import type {Clock} from '../../core/clock.js'
import {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {clusterNames, dispatcherPort, label} from '../../core/layout.js'
import type {CallOptions, Cluster, ObjectRef} from '../../kube/cluster.js'
import type {Step, StepTools} from '../pipeline.js'
import {output} from '../transport/output.js'
import type {Transport} from '../transport/transport.js'
import {dispatcherAddress} from './dispatcher.js'
import {refOf} from './applied.js'

/**
 * `enforced`: somebody beside the pods reached the dispatcher while a policy allowed it, and no more without that policy.
 * `open`: they went on reaching it. `unproven`: they never did, so that their silence says nothing about policies.
 */
export type Enforcement = 'enforced' | 'open' | 'unproven'

const script = '/usr/local/lib/cage/lookout.sh'
/** Where lookout.sh stands, behind the machine's firewall, which lets it reach the dispatcher as it does every pod. */
const LOOKOUT = '100.127.255.2/32'
/** `FOUND BOOT`: a machine that was started anew is tried anew. */
const NOTE = 'cage.internal/network-policy'
/** Engines take a moment to act. */
const SETTLES_MS = 20_000
const ROUND_MS = 500

/** Finds out by trying whether the cluster's engine enforces NetworkPolicy; where none is promised there is nothing to do. */
export function networkPolicyStep(options: {
  id: string
  clock: Clock
  /** the cluster's network engine enforces policies, or so it says */
  promised: () => Promise<boolean>
  cluster: () => Promise<Cluster>
  /** to the machine */
  transport: () => Promise<Transport>
}): Step {
  const {id} = options
  const noted = async (signal: AbortSignal) => {
    const [found, boot] = await note(await options.cluster(), id, {signal})
    return boot === (await bootOf(await options.transport(), signal)) ? found : undefined
  }
  return {
    name: 'network policy',
    deadlineMs: 180_000,
    hints: ['Run `cage machine ssh -- kubectl -n kube-system get pods` to see the network engine.'],
    check: async ({signal}) => !(await options.promised()) || isProof(await noted(signal)),
    act: async (tools) => {
      const [cluster, transport] = [await options.cluster(), await options.transport()]
      const found = await tryIt(cluster, transport, {id, clock: options.clock}, tools)
      const annotations = {[NOTE]: `${found} ${await bootOf(transport, tools.signal)}`}
      await cluster.patch(namespace(id), {metadata: {annotations}}, {signal: tools.signal})
      if (found === 'open') {
        throw new CageError('the cluster takes NetworkPolicy and does not enforce it', {
          code: 'NETWORK_POLICY_OPEN',
          hints: [
            'Run `cage machine ssh -- kubectl -n kube-system get pods` to see the network engine.',
            'Run `cage down`, then `cage up`.',
          ],
        })
      }
      return found
    },
    verify: async ({signal}) => (await noted(signal)) !== undefined,
  }
}

/** What the last try found, for `cage status`; undefined = none was made. */
export async function notedEnforcement(cluster: Cluster, id: string): Promise<Enforcement | undefined> {
  return (await note(cluster, id))[0]
}

async function note(
  cluster: Cluster,
  id: string,
  options: CallOptions = {},
): Promise<[Enforcement | undefined, string]> {
  const text = (await cluster.get(namespace(id), options))?.metadata.annotations?.[NOTE] ?? ''
  const [found = '', boot = ''] = text.split(' ')
  return [found === 'enforced' || found === 'open' || found === 'unproven' ? found : undefined, boot]
}

function isProof(found: Enforcement | undefined): boolean {
  return found === 'enforced'
}

async function tryIt(
  cluster: Cluster,
  transport: Transport,
  {id, clock}: {id: string; clock: Clock},
  {signal, detail}: StepTools,
): Promise<Enforcement> {
  const target = `${await dispatcherAddress(cluster, id)}:443`
  const comesTo = async (answering: boolean): Promise<boolean> => {
    const end = clock.now() + SETTLES_MS
    let same = 0
    while (clock.now() < end) {
      const said = await output(transport, {argv: [script, target], timeoutMs: 30_000, signal})
      same = (said.trim() !== '') === answering ? same + 1 : 0
      if (same === 2) return true
      await clock.sleep(ROUND_MS, signal)
    }
    return false
  }
  const policy = allowLookout(id)
  try {
    detail('allowing one address beside the pods')
    await cluster.apply([policy], {signal})
    if (!(await comesTo(true))) return 'unproven'
    detail('allowing it no more')
    await cluster.delete(refOf(policy), {signal})
    return (await comesTo(false)) ? 'enforced' : 'open'
  } finally {
    // Also when the person interrupts: no signal.
    await cluster.delete(refOf(policy))
  }
}

/** Policies only ever add: without this one the dispatcher's own hold, which let in tasks alone. */
export function allowLookout(id: string): KubeObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: {
      name: 'cage-lookout',
      namespace: clusterNames.dispatcherNamespace(id),
      labels: {[label.project]: id},
    },
    spec: {
      podSelector: {matchLabels: {[label.component]: 'dispatcher'}},
      policyTypes: ['Ingress'],
      ingress: [{from: [{ipBlock: {cidr: LOOKOUT}}], ports: [{protocol: 'TCP', port: dispatcherPort.gate}]}],
    },
  }
}

function namespace(id: string): ObjectRef {
  return {apiVersion: 'v1', kind: 'Namespace', name: clusterNames.dispatcherNamespace(id)}
}

async function bootOf(transport: Transport, signal: AbortSignal): Promise<string> {
  return (await output(transport, {argv: ['cat', '/proc/sys/kernel/random/boot_id'], signal})).trim()
}
