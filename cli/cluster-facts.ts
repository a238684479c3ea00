import {CageError, ExitCode} from '../core/errors.js'
import type {Cluster} from '../kube/cluster.js'
import type {ClusterTraits} from '../manifests/pod-shape.js'
import {upstreamKind} from '../policy/upstream-kind.js'
import {provisionedByCluster, type Volumes} from '../tasks/volumes.js'
import {existingCluster, existingDns, existingImages, existingTraits, notPushed} from './existing-cluster.js'
import type {ProjectContext} from './project-context.js'

/** File below the kubelet's seccomp folder that cage installs on its own machines. */
const SECCOMP = 'cage.json'
const IMAGE_PREFIX = 'cage.local/'

/** What manifests need to know about the project's cluster. */
export async function clusterTraits(project: ProjectContext): Promise<ClusterTraits> {
  const {signal} = project
  const existing = await existingCluster(project)
  if (existing) return existingTraits(await project.cluster(), existing, signal)
  return ownTraits(await project.cluster(), signal)
}

async function ownTraits(cluster: Cluster, signal: AbortSignal): Promise<ClusterTraits> {
  const {storageClass} = await import('../provision/cluster/volumes.js')
  const nodes = await cluster.nodes({signal})
  return {
    imagePrefix: IMAGE_PREFIX,
    pullPolicy: 'Never',
    userNamespaces: nodes.length > 0 && nodes.every((node) => node.userNamespaces),
    seccompProfile: SECCOMP,
    storageClass,
  }
}

/** By tag: what `cage up` put into the cluster. */
export async function projectImages(
  project: ProjectContext,
): Promise<{agent: string; proxy: string; dispatcher: string}> {
  const {imageReferences} = await import('../provision/images/plan.js')
  const existing = await existingCluster(project)
  if (existing) return existingImages(project, existing)
  const {machine} = await project.machine()
  const {architecture} = await machine.facts()
  const upstream = upstreamKind(project.settings.repository.upstream)
  return imageReferences(project.places.packageRoot, architecture, upstream)
}

/**
 * A cage that was rebuilt has other images than the last `cage up` put into the cluster, where nothing can pull them.
 * Errors: IMAGES_MISSING, exit 3.
 */
export async function requireImages(project: ProjectContext, images: readonly string[]): Promise<void> {
  const existing = await existingCluster(project)
  const missing = existing ? await notPushed(project, existing, images) : await notImported(project, images)
  if (missing.length === 0) return
  throw new CageError(`the cluster does not have ${missing.join(' and ')} of this version of cage`, {
    code: 'IMAGES_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage up`: it builds them and brings them there.'],
  })
}

async function notImported(project: ProjectContext, images: readonly string[]): Promise<string[]> {
  const {machine} = await project.machine()
  const {output} = await import('../provision/transport/output.js')
  const filters = images.map((image) => `name==${image}`)
  const argv = ['ctr', '--namespace', 'k8s.io', 'images', 'ls', '--quiet', ...filters] as const
  const found = (await output(machine.transport, {argv, signal: project.signal, timeoutMs: 30_000})).split(
    '\n',
  )
  return images.filter((image) => !found.includes(image))
}

/** Volumes for claims in one namespace: on the machine's disk, or the cluster's own affair. */
export async function volumesIn(project: ProjectContext, namespace: string): Promise<Volumes> {
  if (await existingCluster(project)) return provisionedByCluster
  const {machineVolumes} = await import('../provision/cluster/volumes.js')
  const {label} = await import('../core/layout.js')
  const {machine} = await project.machine()
  return machineVolumes({
    transport: machine.transport,
    objects: await project.cluster(),
    node: `cage-${project.id}`,
    namespace,
    labels: {[label.project]: project.id},
  })
}

/** What answers on the machine and must never answer a pod: the kubelet, and the API server where it listens on a link. */
export async function closedAddresses(project: ProjectContext): Promise<string[]> {
  const {apiAddress} = await import('../provision/cluster/api-service.js')
  const service = async () => apiAddress(await project.cluster(), {signal: project.signal})
  if (await existingCluster(project)) return [await service()]
  const {clusterKinds} = await import('../provision/cluster/kinds.js')
  const {machine, record} = await project.machine()
  const {api, closed} = clusterKinds[record.cluster]
  const {address} = await machine.facts()
  const ports = Object.values(closed).map((port) => `${address}:${port}`)
  // Its service leads to that link, and nowhere when it listens on loopback only.
  return api.listens === 'loopback' ? ports : [...ports, await service()]
}

/** DNS servers of the sidecars: the operator's, else the machine's or the cluster's. */
export async function resolvers(project: ProjectContext): Promise<string[]> {
  const {resolver} = project.settings.network
  if (resolver.length > 0) return resolver
  if (await existingCluster(project)) return [(await existingDns(project)).address]
  const {machine} = await project.machine()
  return [(await machine.facts()).resolver]
}
