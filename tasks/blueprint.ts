import type {ClusterTraits} from '../manifests/pod-shape.js'
import type {SignedPart} from '../policy/grant.js'
import type {Fingerprint} from '../scan/exact.js'

/** What the project says about its tasks now: everything a pod is built from that is not the task's own. */
export interface TaskBlueprint {
  /** folder name of the clone, and of the hosted repository */
  project: string
  /** URL of `origin` in the clone */
  remote: string
  /** URL of the fork that branches go to; absent = they go to `remote` */
  fork?: string
  /** repository at the dispatcher that branches go to, e.g. `shop.git` */
  repository: string
  traits: ClusterTraits
  /** by tag, e.g. `cage.local/agent:<hash>` */
  images: {agent: string; proxy: string}
  author: {name: string; email: string}
  env: Readonly<Record<string, string>>
  limits: {cpu: number; memoryBytes: number}
  diskBytes: number
  /** exact exceptions of the fence, `ADDRESS/tcp|udp/PORT` */
  fenceAllow: readonly string[]
  /** `ADDRESS:PORT` that must not answer the agent */
  probeClosed: readonly string[]
  /** Ed25519 public key of the project, SPKI DER, base64 */
  grantKey: string
  /** shell text that runs in the pod before the agent */
  setup?: string
  /** tar of untracked files that the task needs */
  files?: Buffer
}

export interface GrantRequest {
  task: string
  branch: string
  base: string
  agent: string
  revision: number
  /** placeholders to keep, by credential name */
  placeholders: Readonly<Record<string, string>>
}

/** One revision, compiled and signed; the values of credentials are here and in the sidecar's Secret, nowhere else. */
export interface PreparedGrant {
  egress: SignedPart
  git: SignedPart
  handle: string
  /** credential name → value */
  credentials: Readonly<Record<string, string>>
  /** of those values and of the handle */
  issued: readonly Fingerprint[]
  /** credential name → what the agent sees */
  placeholders: Record<string, string>
  /** environment of the agent's container: variable → placeholder */
  env: Readonly<Record<string, string>>
}

/**
 * What `tasks` asks of the project; the CLI puts it together from cage.yaml, state directory and machine.
 * - `prepareGrant` MUST throw before anything exists: a missing credential (exit 3), more than is approved (exit 4).
 */
export interface TaskProject {
  blueprint(agent: string): Promise<TaskBlueprint>
  prepareGrant(request: GrantRequest): Promise<PreparedGrant>
  /** Resolves the credentials that the agent needs and keeps them for `prepareGrant`; throws exit 3 when one is missing. */
  resolveCredentials(agent: string): Promise<void>
}
