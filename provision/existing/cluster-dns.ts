import type {KubeObject} from '../../core/kube-object.js'
import type {CallOptions, Cluster} from '../../kube/cluster.js'
import type {BaseView} from '../../manifests/base-view.js'

interface DnsService extends KubeObject {
  spec?: {
    clusterIP?: string
    selector?: Record<string, string>
    ports?: {protocol?: string; port: number; targetPort?: number | string}[]
  }
}

export interface ClusterDns {
  address: string
  pods: NonNullable<BaseView['resolverPods']>
}

/** The cluster's own resolver: the service that every distribution calls kube-dns. Undefined when there is none. */
export async function clusterDns(
  cluster: Cluster,
  options: CallOptions = {},
): Promise<ClusterDns | undefined> {
  const namespace = 'kube-system'
  const ref = {apiVersion: 'v1', kind: 'Service', name: 'kube-dns', namespace}
  const {clusterIP, selector, ports} = (await cluster.get<DnsService>(ref, options))?.spec ?? {}
  if (!clusterIP || clusterIP === 'None' || !selector) return undefined
  const target = (protocol: 'UDP' | 'TCP') => {
    const found = ports?.find((one) => one.port === 53 && (one.protocol ?? 'TCP') === protocol)
    return {protocol, port: found?.targetPort ?? 53}
  }
  return {address: clusterIP, pods: {namespace, labels: selector, ports: [target('UDP'), target('TCP')]}}
}
