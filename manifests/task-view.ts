import type {ClusterTraits} from './pod-shape.js'

/** Which task: names, labels and annotations of its objects are made from this. */
export interface TaskIdentity {
  /** `<project>-<8 hex>`: task namespace and project label */
  projectId: string
  /** task name, a DNS label of at most 40 characters */
  task: string
  branch: string
  base: string
  /** adapter: claude, shell, … */
  agent: string
}

/** Everything a task's pod is built from. */
export interface TaskPodView extends TaskIdentity {
  traits: ClusterTraits
  images: {agent: string; proxy: string}
  /** revision of the grant the pod starts with */
  revision: number
  /** folder name of the clone below the home directory */
  project: string
  /** URL of `origin` in the clone */
  remote: string
  /** URL of the fork that branches go to; absent = they go to `remote` */
  fork?: string
  /** the branch exists upstream already and is continued */
  existing: boolean
  author: {name: string; email: string}
  /** environment of setup and agent: the project's own and the placeholders; cage's own names are refused */
  env: Readonly<Record<string, string>>
  limits: {cpu: number; memoryBytes: number}
  /** exact exceptions of the fence, `ADDRESS/tcp|udp/PORT`: dispatcher, resolver, openings */
  fenceAllow: readonly string[]
  /** `ADDRESS:PORT`, known to answer, which must not answer the agent */
  probeClosed: readonly string[]
  /** Ed25519 public key of the project, SPKI DER, base64 */
  grantKey: string
}

export interface TaskClaimsView extends TaskIdentity {
  traits: Pick<ClusterTraits, 'storageClass'>
  /** size of the task's volume */
  diskBytes: number
}

export interface TaskConfigView extends TaskIdentity {
  revision: number
  /** JSON of what `task start` needs to build the pod again; no secret */
  record: string
  /** files at /etc/cage/task; bytes that are not text stay bytes */
  files: Readonly<Record<string, string | Buffer>>
}

export interface TaskGrantView extends TaskIdentity {
  revision: number
  /** files at /etc/cage/grant */
  files: Readonly<Record<string, string>>
}
