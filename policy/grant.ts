/**
 * The only contract between the CLI, the sidecar and the dispatcher: what one task may do.
 * One revision, two parts. The CLI compiles and signs it; each side checks the signature over its own bytes
 * before it parses them (docs/security/guarantees.md).
 */

/** What is signed. Hashes are lower-case hex SHA-256. */
export interface GrantHead {
  version: 1
  /** `<project>-<8 hex>` */
  project: string
  task: string
  /** rises by one with every change; a lower one than seen before is refused */
  revision: number
  handleSha256: string
  /** of the exact bytes of the egress part */
  egressSha256: string
  /** of the exact bytes of the git part */
  gitSha256: string
}

/** One part as it travels: the signed head, the signature and the exact bytes of the part. */
export interface SignedPart {
  head: GrantHead
  /** Ed25519 over `signingBytes(head)`, base64 */
  signature: string
  /** JSON text of an EgressGrant or a GitGrant; parse only after `verifyPart` */
  body: string
}

export type Method = string

/** Sets, no order: deny beats allow beats audit; nothing matched = denied. */
export interface EgressRule {
  /** stable and readable, e.g. `preset:npm/registry` or `cage.yaml:allow[0]` */
  id: string
  effect: 'deny' | 'allow' | 'audit'
  /** canonical: lower case, no trailing dot; exact, `*.` + suffix (one or more labels, never the suffix itself), or `*` = any name */
  host: string
  port: number
  /** `http` only for port 80 style plain text; default https */
  scheme: 'https' | 'http'
  /** absent = any method */
  methods?: Method[]
  /** canonical path globs: `*` within a segment, `**` across; absent = any path */
  paths?: string[]
  websocket?: boolean
  mcp?: {tools?: string[]; methods?: string[]}
  /** longest path and query together; absent = no limit of its own */
  urlBytes?: number
  /** distinct names that a wildcard may be used for in the life of the task; absent = no limit of its own */
  hosts?: number
  /** `bytesUp` per hour: address, headers and body */
  rate?: {rps?: number; concurrency?: number; bytesUp?: number}
}

/** Where a credential is put on the wire. The value is in the sidecar's Secret under `name`, never here. */
export interface CredentialBinding {
  name: string
  /** random per task and credential; what the agent sees */
  placeholder: string
  host: string
  port: number
  inject:
    | {kind: 'header'; header: string; template: string}
    | {kind: 'basic'; user: string}
    | {kind: 'json'; pointer: string}
    | {kind: 'sigv4'; region: string; service: string}
}

/** An operator's way to reach a name: it opens the address, not the policy. */
export interface HostRoute {
  host: string
  address: string
  port: number
  /** PEM of the CA that signs it; absent = public roots */
  ca?: string
}

/** A private endpoint that a task reaches under a public-looking name, e.g. `inference.local`. */
export interface EgressRoute {
  name: string
  url: string
  address: string
  ca?: string
  /** `sha256/` + base64 of the SHA-256 of its public key (SPKI); without `ca` it alone is checked */
  pin?: string
}

/** A value that cage holds elsewhere, as `fingerprintsOf` in scan/exact.ts makes it: no value, nothing to open a door with. */
export interface IssuedValue {
  id: string
  form: string
  length: number
  anchor: number
  sha256: string
}

export interface EgressGrant {
  version: 1
  project: string
  task: string
  revision: number
  dispatcher: {
    /** ClusterIP and port of the Service */
    address: string
    port: number
    /** PEM of the project's CA: the only root for it */
    ca: string
    /** these names are never dialled directly */
    hosts: string[]
  }
  /** `address` or `address:port` of the machine's resolver; empty = no name outside `hosts` resolves */
  resolver: string[]
  rules: EgressRule[]
  credentials: CredentialBinding[]
  hosts: HostRoute[]
  routes: EgressRoute[]
  /** CIDRs, /28 or longer, that count as public on this network */
  allowAddresses: string[]
  upstreamProxy?: string
  /** what a pattern finding does per host; absent = deny. Exact values handed out by cage are always denied */
  detectors: {audit: string[]}
  /** values that the dispatcher holds for the upstream: nothing that leaves may contain one. Absent = none */
  issued?: IssuedValue[]
  budget: {tokens?: number; usd?: number; seconds?: number; uploadBytes?: number}
}

export type GitPrincipal = 'task' | 'operator'

/** What a task may change at GitHub beside its branch, and never more than its own of it. */
export const githubWrites = [
  'pr.create',
  'pr.update',
  'pr.comment',
  'pr.review',
  'pr.close',
  'issue.comment',
  'issue.create',
  'actions.rerun',
] as const
export type GithubWrite = (typeof githubWrites)[number]

export interface GithubGrant {
  /** reading the repository needs no mention */
  writes: GithubWrite[]
  writesPerHour: number
  readsPerHour: number
}

export interface GitGrant {
  version: 1
  project: string
  task: string
  revision: number
  principal: GitPrincipal
  /** `fork`: address of the fork that pushes go to; pull requests lead from there into the upstream, which is only read */
  upstream: {kind: 'hosted' | 'git' | 'github'; url: string; fork?: string}
  /** repository path under the host, e.g. `shop.git` */
  repository: string
  branch: string
  base: string
  /** fetch only */
  read: string[]
  push: {
    /** exact ref names */
    refs: string[]
    force: boolean
    delete: boolean
    /** exact tag refs or `refs/tags/prefix/*` */
    tags: string[]
    /** names of lists in data (`ci`) or path globs, case-insensitive */
    deny: string[]
    /** who new commits may say made them; absent = anybody */
    author?: {email: string; action: 'warn' | 'deny'}
    limits: {
      packBytes: number
      blobBytes: number
      objects: number
      commits: number
      refs: number
      seconds: number
      /** of all packs of this task together; absent = no limit of its own */
      totalBytes?: number
    }
  }
  secrets: {
    /** what a format that is a secret does; a value that cage handed out is always denied */
    onFinding: 'deny' | 'hold' | 'warn'
    /** hex SHA-256 of values that are none; absent = none */
    allow?: string[]
  }
  /** upstream kind `github` only; absent = its API is closed to the task */
  github?: GithubGrant
}
