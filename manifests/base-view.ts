import type {ClusterTraits} from './pod-shape.js'

/** One exact exception: an address, a protocol, a port. */
export interface Opening {
  /** IPv4 address or CIDR */
  address: string
  protocol: 'TCP' | 'UDP'
  port: number
}

export interface PodPort {
  protocol: 'TCP' | 'UDP'
  /** number or name, as in the pod */
  port: number | string
}

/** What a project needs in its cluster before the first task. */
export interface BaseView {
  /** `<project>-<8 hex>` */
  projectId: string
  traits: ClusterTraits
  /** the cluster is the project's alone: cage makes its storage class, and the dispatcher may push others out */
  ownCluster: boolean
  /** pods of the resolver where it is a service of the cluster: policies see pods, not the service's address */
  resolverPods?: {namespace: string; labels: Readonly<Record<string, string>>; ports: readonly PodPort[]}
  /** `.dockerconfigjson` with which the kubelet pulls the images; absent = none needed */
  registryAccount?: string
  /** resolver of the sidecars and the operator's openings */
  openings: readonly Opening[]
  /** what the dispatcher reaches: resolver and upstreams, exact, and ports of those that are found by name */
  upstreams: {openings: readonly Opening[]; publicPorts: readonly number[]}
  /** TCP ports of the public internet that rules may name */
  publicPorts: readonly number[]
  /** tasks that may be there at once; two claims each */
  maxTasks?: number
}
