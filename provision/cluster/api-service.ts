import {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import type {CallOptions, Cluster} from '../../kube/cluster.js'

/** `ADDRESS:PORT` of the API server's service: pods reach it in every cluster unless something stops them. */
export async function apiAddress(cluster: Cluster, options: CallOptions = {}): Promise<string> {
  const ref = {apiVersion: 'v1', kind: 'Service', name: 'kubernetes', namespace: 'default'}
  const service = await cluster.get<KubeObject & {spec?: {clusterIP?: string}}>(ref, options)
  if (service?.spec?.clusterIP) return `${service.spec.clusterIP}:443`
  throw new CageError('the cluster has no service `kubernetes`', {code: 'CLUSTER_INVALID'})
}
