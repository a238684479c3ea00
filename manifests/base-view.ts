import type {ClusterTraits} from './pod-shape.js'

/** One exact exception: an address, a protocol, a port. */
export interface Opening {
  /** IPv4 address or CIDR */
  address: string
  protocol: 'TCP' | 'UDP'
  port: number
}

/** What a project needs in its cluster before the first task. */
export interface BaseView {
  /** `<project>-<8 hex>` */
  projectId: string
  traits: ClusterTraits
  /** cage makes the claims' storage class: on machines of its own, not on `existing` clusters */
  ownStorageClass: boolean
  /** resolver of the sidecars and the operator's openings */
  openings: readonly Opening[]
  /** what the dispatcher reaches: resolver and upstreams, exact, and ports of those that are found by name */
  upstreams: {openings: readonly Opening[]; publicPorts: readonly number[]}
  /** TCP ports of the public internet that rules may name */
  publicPorts: readonly number[]
  /** tasks that may be there at once; two claims each */
  maxTasks?: number
}
