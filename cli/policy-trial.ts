import type {Clock} from '../core/clock.js'
import type {Cluster} from '../kube/cluster.js'
import type {PolicyProbeView} from '../manifests/policy-probe.js'
import {ownerOf} from '../provision/existing/ownership.js'
import {projectGrantKey} from '../provision/state/grant-key.js'
import {clusterTraits, projectImages} from './cluster-facts.js'
import type {ProjectContext} from './project-context.js'

export interface PolicyTrial {
  id: string
  clock: Clock
  cluster: () => Promise<Cluster>
  owner: () => Promise<string>
  probe: () => Promise<PolicyProbeView>
}

/** How NetworkPolicy is tried on a machine of cage's own: in whose name, and with which pod. */
export function policyTrial(project: ProjectContext): PolicyTrial {
  return {
    id: project.id,
    clock: project.clock,
    cluster: () => project.cluster(),
    owner: async () => ownerOf((await projectGrantKey(project.files)).publicKey),
    probe: async () => ({
      projectId: project.id,
      traits: await clusterTraits(project),
      image: (await projectImages(project)).dispatcher,
    }),
  }
}
