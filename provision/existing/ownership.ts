import {createHash} from 'node:crypto'
import {CageError, ExitCode} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {annotation, clusterNames, label} from '../../core/layout.js'
import type {CallOptions, Cluster, ObjectRef} from '../../kube/cluster.js'
import {dispatcherPriority} from '../../manifests/dispatcher-shape.js'
import {taskPriority} from '../../manifests/task-shape.js'

const GONE_MS = 300_000

/** Names a cage on somebody's computer without saying anything about it: the hash of the project's public grant key. */
export function ownerOf(grantKey: string): string {
  return createHash('sha256').update(grantKey).digest('hex').slice(0, 32)
}

export function namespacesOf(id: string): string[] {
  return [
    clusterNames.taskNamespace(id),
    clusterNames.dispatcherNamespace(id),
    clusterNames.probeNamespace(id),
  ]
}

const namespaceRef = (name: string): ObjectRef => ({apiVersion: 'v1', kind: 'Namespace', name})

/** UID of kube-system: a cluster has no other name that stays. Errors: CLUSTER_FORBIDDEN and the like. */
export async function clusterUid(cluster: Cluster, options: CallOptions = {}): Promise<string> {
  const system = await cluster.get(namespaceRef('kube-system'), options)
  if (system?.metadata.uid !== undefined) return system.metadata.uid
  throw new CageError('the cluster has no namespace kube-system', {code: 'CLUSTER_INVALID'})
}

/** Makes a namespace that bears the owner's mark. Errors: NAMESPACE_TAKEN, exit 3: it is somebody else's. */
export async function claimNamespace(
  cluster: Cluster,
  claim: {id: string; owner: string; name: string; podSecurity: 'privileged' | 'restricted'},
  options: CallOptions = {},
): Promise<void> {
  const {id, owner, name, podSecurity} = claim
  const labels = {[label.project]: id, 'pod-security.kubernetes.io/enforce': podSecurity}
  const metadata = {name, labels, annotations: {[annotation.owner]: owner}}
  const outcome = await cluster.create({apiVersion: 'v1', kind: 'Namespace', metadata}, options)
  if (outcome === 'created' || (await isOwn(cluster, name, owner, options))) return
  throw new CageError(`the namespace ${name} of the cluster belongs to somebody else`, {
    code: 'NAMESPACE_TAKEN',
    exitCode: ExitCode.precondition,
    hints: [
      'Give the project another name (`project:` in cage.yaml): two people with the same path and name meet here.',
      `If it is your own and its state directory was lost, delete it: kubectl delete namespace ${name}.`,
    ],
  })
}

export async function isOwn(
  cluster: Cluster,
  name: string,
  owner: string,
  options: CallOptions = {},
): Promise<boolean> {
  const found = await cluster.get(namespaceRef(name), options)
  return found?.metadata.annotations?.[annotation.owner] === owner
}

export interface Removed {
  removed: string[]
  /** what stays, for the person */
  left: string[]
}

/**
 * Removes the project's namespaces, then the policies that pinned their pods, then what cage's projects share if this was
 * the last of them. Touches nothing without the owner's mark.
 */
export async function removeFromCluster(
  cluster: Cluster,
  {id, owner}: {id: string; owner: string},
  options: CallOptions & {detail: (text: string) => void},
): Promise<Removed> {
  const {detail, ...call} = options
  const removed: string[] = []
  const left = await keptVolumes(cluster, id, call)
  for (const name of namespacesOf(id)) {
    const found = await cluster.get(namespaceRef(name), call)
    if (found && found.metadata.annotations?.[annotation.owner] !== owner) {
      left.push(`namespace ${name}: it is somebody else’s`)
      continue
    }
    if (found) {
      detail(`removing namespace ${name}`)
      await cluster.delete(namespaceRef(name), {wait: {deadlineMs: GONE_MS}, ...call})
      removed.push(`namespace ${name}`)
    }
    // Also those that an earlier run, cut off here, left behind.
    removed.push(...(await removePolicies(cluster, id, name, call)))
  }
  removed.push(...(await removeShared(cluster, call)))
  return {removed, left}
}

async function removePolicies(
  cluster: Cluster,
  id: string,
  namespace: string,
  options: CallOptions,
): Promise<string[]> {
  const removed: string[] = []
  for (const kind of ['ValidatingAdmissionPolicyBinding', 'ValidatingAdmissionPolicy']) {
    const ref = {apiVersion: 'admissionregistration.k8s.io/v1', kind, name: `${namespace}-pods`}
    const found = await cluster.get(ref, options)
    if (found?.metadata.labels?.[label.project] !== id) continue
    await cluster.delete(ref, options)
    removed.push(`${kind} ${ref.name}`)
  }
  return removed
}

async function removeShared(cluster: Cluster, options: CallOptions): Promise<string[]> {
  const labelSelector = label.project
  const others = await cluster.list({apiVersion: 'v1', kind: 'Namespace', labelSelector, ...options})
  if (others.length > 0) return []
  const removed: string[] = []
  for (const name of [taskPriority, dispatcherPriority]) {
    const ref = {apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', name}
    if (await cluster.delete(ref, options)) removed.push(`PriorityClass ${name}`)
  }
  return removed
}

interface VolumeObject extends KubeObject {
  spec?: {persistentVolumeReclaimPolicy?: string; claimRef?: {namespace?: string; name?: string}}
}

/** Volumes that the cluster keeps when their claims are gone: the person's data is still on them. */
async function keptVolumes(cluster: Cluster, id: string, options: CallOptions): Promise<string[]> {
  const own = new Set(namespacesOf(id))
  const volumes = await cluster
    .list<VolumeObject>({apiVersion: 'v1', kind: 'PersistentVolume', ...options})
    // Only to tell the person; who may not list them is not told.
    .catch(() => [])
  return volumes
    .filter(
      ({spec}) => spec?.persistentVolumeReclaimPolicy === 'Retain' && own.has(spec.claimRef?.namespace ?? ''),
    )
    .map(({metadata}) => `PersistentVolume ${metadata.name}: its storage class retains it`)
}
