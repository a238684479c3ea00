import type {Cluster} from '../kube/cluster.js'
import type {ProjectMachine} from '../provision/provisioning.js'
import type {ProjectFiles} from '../provision/state/layout.js'

/**
 * The cluster behind the kubeconfig that `cage up` wrote. A machine that is far away is reached through a tunnel, which ends
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
  if ((await readRecord(files.record))?.driver === 'local') return connect({kubeconfig})
  return connect({kubeconfig, at: await (await machine()).machine.api()})
}
