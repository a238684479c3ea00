import {machineOpening} from './machine-opening.js'
import {stateOf} from './machine-state.js'
import type {Opening} from './openings.js'
import {openingsOf, wideOpenings} from './openings.js'
import type {ProjectContext} from './project-context.js'

export interface ProjectStatus {
  project: string
  machine: {driver: string; state: string; sharesKernel: boolean}
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
  return {
    project: name,
    machine,
    cluster: {kind: found.record.cluster, ...(up ? await clusterStatus(project) : NO_CLUSTER)},
    dispatcher: {ready: up && (await dispatcherIsReady(project))},
    openings: [...openings, machineOpening(found.record.driver)],
  }
}

async function clusterStatus(project: ProjectContext): Promise<typeof NO_CLUSTER> {
  try {
    const cluster = await project.cluster()
    if (!(await cluster.ready({signal: AbortSignal.timeout(5000)}))) return NO_CLUSTER
    const [{gitVersion}, nodes] = await Promise.all([cluster.version(), cluster.nodes()])
    return {
      version: gitVersion,
      ready: nodes.length > 0 && nodes.every((node) => node.ready),
      userNamespaces: nodes.every((node) => node.userNamespaces),
      // kubeadm brings no engine; the machine's firewall drops the same and is what counts.
      networkPolicy: 'not enforced by this cluster; the machine firewall drops the same',
    }
  } catch {
    return NO_CLUSTER
  }
}

async function dispatcherIsReady(project: ProjectContext): Promise<boolean> {
  try {
    const {isReady} = await import('../provision/steps/dispatcher.js')
    return await isReady(await project.cluster(), project.id)
  } catch {
    return false
  }
}
