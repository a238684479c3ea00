import type {Cluster} from '../kube/cluster.js'
import type {ProjectMachine} from '../provision/provisioning.js'
import type {ProjectFiles} from '../provision/state/layout.js'

/**
 * The cluster behind the kubeconfig that `cage up` wrote, or that the operator names. A machine that is far away is reached through a tunnel, which ends
 * with its connection: `machine` is asked only then, and the caller closes it.
 */
export async function machineCluster(
  files: ProjectFiles,
  machine: () => Promise<ProjectMachine>,
): Promise<Cluster> {
  const [{connect}, {readRecord}] = await Promise.all([
    import('../kube/connect.js'),
    import('../provision/state/machine-record.js'),
  ])
  const {kubeconfig} = files
  const record = await readRecord(files.record)
  if (record?.existing) {
    const {kubeconfig: named, context} = record.existing
    return connect({kubeconfig: named, context})
  }
  if (record?.driver === 'local') return connect({kubeconfig})
  return connect({kubeconfig, at: await (await machine()).machine.api()})
}
