/**
 * The shape of a pod as data. The same data builds the pod (pod-spec.ts), is checked on the finished object
 * (pod-invariants.ts) and is pinned in the cluster (pod-policy.ts).
 * `{task}` in a name stands for the task's name.
 */
export interface PodShape {
  /** value of the component label */
  component: string
  /** name of the pod; absent = given by its controller */
  name?: string
  init: readonly ContainerShape[]
  main: readonly ContainerShape[]
  volumes: readonly VolumeShape[]
  fsGroup: number
  priorityClass: string
  serviceAccount: string
  /** resolver of the pod: its own loopback, or none that it may reach */
  nameservers: readonly string[]
  sysctls: readonly {name: string; value: string}[]
}

export interface ContainerShape {
  name: string
  /** name of the image below the cluster's image prefix */
  image: 'agent' | 'proxy' | 'dispatcher'
  uid: number
  /** capabilities beyond none */
  add: readonly string[]
  command: readonly string[]
  mounts: readonly MountShape[]
  /** an init container that stays (native sidecar) */
  stays?: boolean
  /** health probes over HTTP; absent = none at all */
  health?: {port: number; startup: string; live: string; ready?: string}
}

export interface MountShape {
  volume: string
  path: string
  readOnly?: boolean
  /** folder of the volume */
  part?: string
}

export type VolumeShape =
  | {name: string; claim: string}
  | {name: string; secret: string}
  | {name: string; configMap: string}
  /** memory: a full one is refused by the kernel, never fills the node's disk and never evicts the pod */
  | {name: string; memory: true}

/** What differs between clusters. */
export interface ClusterTraits {
  /** where images come from, with its slash: `cage.local/` */
  imagePrefix: string
  /** `Never` where images are imported into the node */
  pullPolicy: 'Never' | 'IfNotPresent'
  /** the runtime can start pods with `hostUsers: false` */
  userNamespaces: boolean
  /** file below the kubelet's seccomp folder; absent = the runtime's own profile */
  seccompProfile?: string
  /** of claims; absent = the cluster's default */
  storageClass?: string
}

/** A machine that slept or restarts keeps its pods: nobody deletes them because the node was away. */
export const tolerations = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'].map((key) => ({
  key,
  operator: 'Exists',
  effect: 'NoExecute',
}))

/** `{type: Localhost, …}` or `{type: RuntimeDefault}` */
export function seccomp(traits: Pick<ClusterTraits, 'seccompProfile'>): Record<string, string> {
  return traits.seccompProfile === undefined
    ? {type: 'RuntimeDefault'}
    : {type: 'Localhost', localhostProfile: traits.seccompProfile}
}

export function named(pattern: string, task: string): string {
  return pattern.replaceAll('{task}', task)
}
