import type {KubeObject} from '../../core/kube-object.js'
import type {Cluster} from '../../kube/cluster.js'
import type {Step} from '../pipeline.js'
import {areApplied, stamped} from './applied.js'

/** Namespaces, policies, quotas: everything of a project that is in the cluster before its first task. */
export function baseObjectsStep(
  cluster: () => Promise<Cluster>,
  objects: () => Promise<readonly KubeObject[]>,
): Step {
  return {
    name: 'namespaces and policies',
    deadlineMs: 5 * 60_000,
    hints: ['Run `cage manifests render` to see what is applied.'],
    check: async ({signal}) => areApplied(await cluster(), stamped(await objects()), {signal}),
    act: async ({signal, detail}) => {
      const wanted = stamped(await objects())
      detail(`applying ${wanted.length} objects`)
      await (await cluster()).apply(wanted, {signal})
      return `${wanted.length} objects`
    },
  }
}
