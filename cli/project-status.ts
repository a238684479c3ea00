import type {Cluster} from '../kube/cluster.js'
import {machineOpenings} from './machine-opening.js'
import {stateOf} from './machine-state.js'
import type {Opening} from './openings.js'
import {openingsOf, wideOpenings} from './openings.js'
import {existingCluster} from './existing-cluster.js'
import type {ProjectContext} from './project-context.js'
import type {Machine} from '../provision/machine/machine.js'
import type {Reach} from '../provision/machine/guest-reach.js'
import type {Upkeep} from '../provision/machine/upkeep.js'

export interface ProjectStatus {
  project: string
  machine: {driver: string; state: string; sharesKernel: boolean; upkeep?: Upkeep[]}
  cluster: {kind: string; version: string; ready: boolean; userNamespaces: boolean; networkPolicy: string}
  dispatcher: {ready: boolean}
  openings: Opening[]
}

const NO_CLUSTER = {version: '', ready: false, userNamespaces: false, networkPolicy: 'unknown'}

/** What runs of this project, asked and not remembered; never throws for something that is down. */
export async function statusOf(project: ProjectContext): Promise<ProjectStatus> {
  const found = await project.machineIfMade()
  const openings = [...openingsOf(project.settings).openings, ...wideOpenings(project.settings)]
  const name = project.settings.project
  const existing = await existingCluster(project)
  if (existing) return existingStatus(project, openings)
  if (!found) {
    return {
      project: name,
      machine: {driver: project.settings.machine.driver, state: 'absent', sharesKernel: false},
      cluster: {kind: project.settings.cluster.kind, ...NO_CLUSTER},
      dispatcher: {ready: false},
      openings,
    }
  }
  const state = await stateOf(found)
  const machine = {driver: found.record.driver, state, sharesKernel: found.record.driver === 'local'}
  const up = state === 'running' || state === 'broken'
  const reach = up ? await reachOf(found.machine) : undefined
  return {
    project: name,
    machine: {...machine, ...(up ? await upkeepOf(found.machine) : {})},
    cluster: {kind: found.record.cluster, ...(up ? await clusterStatus(project, enforcement) : NO_CLUSTER)},
    dispatcher: {ready: up && (await dispatcherIsReady(project))},
    openings: [...openings, ...machineOpenings(found.record.driver, reach)],
  }
}

/** A cluster that was there: no machine is cage's, so none can be down. */
async function existingStatus(project: ProjectContext, openings: Opening[]): Promise<ProjectStatus> {
  const {closedBy} = await import('./existing-life.js')
  const cluster = await clusterStatus(project, () => Promise.resolve(NO_CLUSTER.networkPolicy))
  const closed = cluster.ready
    ? await project.cluster().then((reached) => closedBy(reached, project.id))
    : {networkPolicy: cluster.networkPolicy, openings: []}
  return {
    project: project.settings.project,
    machine: {driver: 'none', state: 'none', sharesKernel: false},
    cluster: {kind: 'existing', ...cluster, networkPolicy: closed.networkPolicy},
    dispatcher: {ready: cluster.ready && (await dispatcherIsReady(project))},
    openings: [...openings, ...closed.openings],
  }
}

/** What keeps a guest in order; nothing where the system is somebody's or does not answer. */
async function upkeepOf(machine: Machine): Promise<{upkeep?: Upkeep[]}> {
  const upkeep = await machine.care?.(AbortSignal.timeout(10_000)).catch(() => undefined)
  return upkeep ? {upkeep} : {}
}

/** Undefined where it cannot be tried. */
async function reachOf(machine: Machine): Promise<Reach[] | undefined> {
  return machine.reach?.(AbortSignal.timeout(20_000)).catch(() => undefined)
}

async function clusterStatus(
  project: ProjectContext,
  networkPolicy: (project: ProjectContext, cluster: Cluster) => Promise<string>,
): Promise<typeof NO_CLUSTER> {
  try {
    const cluster = await project.cluster()
    if (!(await cluster.ready({signal: AbortSignal.timeout(5000)}))) return NO_CLUSTER
    const [{gitVersion}, nodes] = await Promise.all([cluster.version(), cluster.nodes()])
    return {
      version: gitVersion,
      ready: nodes.length > 0 && nodes.every((node) => node.ready),
      userNamespaces: nodes.every((node) => node.userNamespaces),
      networkPolicy: await networkPolicy(project, cluster),
    }
  } catch {
    return NO_CLUSTER
  }
}

/** The machine's firewall drops the same and is what counts; this says what stands beside it. */
async function enforcement(project: ProjectContext, cluster: Cluster): Promise<string> {
  const [{clusterKinds}, {notedEnforcement}] = await Promise.all([
    import('../provision/cluster/kinds.js'),
    import('../provision/steps/network-policy.js'),
  ])
  const {record} = await project.machine()
  if (!clusterKinds[record.cluster].networkPolicy)
    return 'not enforced by this cluster; the machine firewall drops the same'
  const noted = await notedEnforcement(cluster, project.id)
  if (noted?.found === 'enforced')
    return 'enforced by this cluster, proved by trying; the machine firewall drops the same'
  return 'not proved on this cluster; the machine firewall drops the same'
}

async function dispatcherIsReady(project: ProjectContext): Promise<boolean> {
  try {
    const {isReady} = await import('../provision/steps/dispatcher.js')
    return await isReady(await project.cluster(), project.id)
  } catch {
    return false
  }
}
