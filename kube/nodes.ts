import type {KubeObject} from '../core/kube-object.js'
import type {NodeFacts} from './cluster.js'

interface NodeStatus {
  conditions?: {type: string; status: string}[]
  addresses?: {type: string; address: string}[]
  nodeInfo?: {kubeletVersion?: string; containerRuntimeVersion?: string; architecture?: string}
  runtimeHandlers?: {name?: string; features?: {userNamespaces?: boolean}}[]
}

/** What cage needs to know of a node, from its status. */
export function nodeFacts(node: KubeObject): NodeFacts {
  const status = (node['status'] ?? {}) as NodeStatus
  // The handler without a name is the one that pods get.
  const handler = status.runtimeHandlers?.find(({name}) => (name ?? '') === '')
  return {
    name: node.metadata.name,
    ready: status.conditions?.some(({type, status: is}) => type === 'Ready' && is === 'True') ?? false,
    internalIp: status.addresses?.find(({type}) => type === 'InternalIP')?.address ?? '',
    kubelet: status.nodeInfo?.kubeletVersion ?? '',
    runtime: status.nodeInfo?.containerRuntimeVersion ?? '',
    userNamespaces: handler?.features?.userNamespaces ?? false,
    architecture: status.nodeInfo?.architecture ?? '',
  }
}
