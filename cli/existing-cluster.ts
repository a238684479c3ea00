import {CageError, ExitCode} from '../core/errors.js'
import type {Cluster} from '../kube/cluster.js'
import type {ClusterTraits} from '../manifests/pod-shape.js'
import {upstreamKind} from '../policy/upstream-kind.js'
import {clusterDns, type ClusterDns} from '../provision/existing/cluster-dns.js'
import type {Architecture} from '../provision/images/description.js'
import {imageReferences} from '../provision/images/plan.js'
import {findAccount, type RegistryAccount} from '../provision/registry/account.js'
import {Registry} from '../provision/registry/client.js'
import {registryPlace} from '../provision/registry/reference.js'
import {readRecord, type ExistingCluster} from '../provision/state/machine-record.js'
import type {ProjectContext} from './project-context.js'

/** Of the images that this computer builds, and so of the nodes. */
export const architecture: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'

/** The cluster that was there, as `cage up` found it. Undefined for projects with a machine. */
export async function existingCluster(project: ProjectContext): Promise<ExistingCluster | undefined> {
  return (await readRecord(project.files.record))?.existing
}

export async function existingTraits(
  cluster: Cluster,
  existing: ExistingCluster,
  signal: AbortSignal,
): Promise<ClusterTraits> {
  const nodes = await cluster.nodes({signal})
  return {
    imagePrefix: `${existing.registry}/`,
    pullPolicy: 'IfNotPresent',
    userNamespaces: nodes.length > 0 && nodes.every((node) => node.userNamespaces),
    ...storageClassOf(existing),
  }
}

/** By tag: what `cage up` pushed. */
export async function existingImages(
  {places, settings}: ProjectContext,
  {registry}: ExistingCluster,
): Promise<{agent: string; proxy: string; dispatcher: string}> {
  const local = await imageReferences(
    places.packageRoot,
    architecture,
    upstreamKind(settings.repository.upstream),
  )
  const pushed = (reference: string) => `${registry}/${reference.slice(reference.lastIndexOf('/') + 1)}`
  return {
    agent: pushed(local.agent),
    proxy: pushed(local.proxy),
    dispatcher: pushed(local.dispatcher),
  }
}

/** Those that the registry does not have; a registry that is out of reach from here is left to the nodes. */
export async function notPushed(
  project: ProjectContext,
  existing: ExistingCluster,
  images: readonly string[],
): Promise<string[]> {
  const registry = await projectRegistry(project)
  const there = await Promise.all(
    images.map((image) => {
      const [name = '', tag = ''] = image.slice(existing.registry.length + 1).split(':')
      return registry.hasManifest(name, tag, project.signal).catch((cause: unknown) => {
        if (cause instanceof CageError && cause.code === 'REGISTRY_UNREACHABLE') return true
        throw cause
      })
    }),
  )
  return images.filter((_, index) => !there[index])
}

/** Errors: RESOLVER_MISSING, exit 3. */
export async function existingDns(project: ProjectContext): Promise<ClusterDns> {
  const found = await clusterDns(await project.cluster(), {signal: project.signal})
  if (found) return found
  throw new CageError('the cluster has no service kube-dns in kube-system', {
    code: 'RESOLVER_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Name a DNS server that pods reach in `network.resolver` of your own config.yaml.'],
  })
}

export async function requireExisting(project: ProjectContext): Promise<ExistingCluster> {
  const existing = await existingCluster(project)
  if (existing) return existing
  throw new CageError(`project ${project.settings.project} has no cluster yet`, {
    code: 'CLUSTER_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage up`.'],
  })
}

export async function projectRegistry(project: ProjectContext): Promise<Registry> {
  return new Registry(registryPlace(project.settings.cluster.registry ?? ''), await registryAccount(project))
}

export async function accountOf(project: ProjectContext): Promise<{registryAccount?: string}> {
  const account = await registryAccount(project)
  return account?.dockerConfig === undefined ? {} : {registryAccount: account.dockerConfig}
}

async function registryAccount(project: ProjectContext): Promise<RegistryAccount | undefined> {
  const {runner, env, homes} = project
  const {registry = '', registryAuth} = project.settings.cluster
  return findAccount(registryAuth, registryPlace(registry), {runner, env, home: homes.user})
}

export function storageClassOf({storageClass}: {storageClass?: string}): {storageClass?: string} {
  return storageClass === undefined ? {} : {storageClass}
}
