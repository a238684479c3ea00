/** What `cage.yaml` and the operator's file come to for one project: defaults filled in, sizes in bytes, times in seconds. */

export interface RuleSettings {
  /** stable: `cage.yaml:allow[0]`, `config.yaml:shop.allow[0]` */
  id: string
  host: string
  /** absent only in a deny: every port */
  port?: number
  /** absent only in a deny: both */
  scheme?: 'https' | 'http'
  methods?: string[]
  paths?: string[]
  websocket?: boolean
  mcp?: {tools?: string[]; methods?: string[]}
  rate?: {rps?: number; concurrency?: number; bytesUp?: number}
}

export interface RouteSettings {
  name: string
  url: string
  /** IP address the name leads to */
  address: string
  /** PEM */
  ca?: string
  /** `sha256/` + base64 of the SHA-256 of its public key */
  pin?: string
}

export type CredentialSource =
  {env: string} | {dotenv: string} | {file: string} | {command: string[]} | {keychain: string}

export type InjectSettings = {host: string; port: number} & (
  | {kind: 'header'; header: string; template: string}
  | {kind: 'basic'; user: string}
  | {kind: 'json'; pointer: string}
  | {kind: 'sigv4'; region: string; service: string}
)

export interface CredentialSettings {
  name: string
  /** tried in this order; the operator's, if any, alone */
  from: CredentialSource[]
  /** absent for what only the dispatcher uses */
  inject?: InjectSettings
  as?: string
}

export interface HostSettings {
  host: string
  address: string
  port: number
  /** PEM */
  ca?: string
}

export interface NetworkSettings {
  /** empty = the machine's */
  resolver: string[]
  upstreamProxy?: string
  hosts: HostSettings[]
  allowAddresses: string[]
}

export interface BudgetSettings {
  tokens?: number
  usd?: number
  seconds?: number
  uploadBytes?: number
}

/** The part of the settings that `cage.yaml` can widen. */
export interface Rights {
  repository: {
    /** `hosted` or an https:// URL */
    upstream: string
    credential?: string
    read: string[]
    /** absent = the default branch of the repository */
    base?: string
    mode: 'direct' | 'fork'
  }
  task: {
    agent: string
    image: string
    cpu: number
    memoryBytes: number
    diskBytes: number
    env: Record<string, string>
    files: string[]
    setup?: string
    author: {name: string; email: string}
    budget: BudgetSettings
  }
  egress: {
    presets: string[]
    allow: RuleSettings[]
    deny: RuleSettings[]
    audit: RuleSettings[]
    routes: RouteSettings[]
  }
  credentials: CredentialSettings[]
  git: {
    force: boolean
    delete: boolean
    tags: string[]
    deny: string[]
    maxBlobBytes: number
    /** what a commit does that another than the task's author made */
    author: 'any' | 'warn' | 'own'
    onFinding: 'deny' | 'hold' | 'warn'
    /** hex SHA-256 of values */
    allow: string[]
  }
}

export interface ProjectSettings extends Rights {
  project: string
  /** cage.yaml chose a name that is not the folder's and for which the operator's file has an entry */
  claimsEntry: boolean
  machine: {
    driver: 'auto' | 'lima' | 'vagrant' | 'ssh' | 'local' | 'none'
    cpus: number
    memoryBytes: number
    diskBytes: number
    ssh?: {host: string; port?: number}
    /** absolute path */
    image?: string
  }
  cluster: {
    kind: 'auto' | 'microk8s' | 'kubeadm' | 'existing'
    kubeconfig?: string
    context?: string
    registry?: string
    registryAuth?: string
    storageClass?: string
  }
  network: NetworkSettings
  /** files and folders of the operator, absolute */
  import: string[]
  /** who the dispatcher is at GitHub */
  github: {app?: {app: number; installation: number; key: CredentialSource}; allowClassicToken: boolean}
  /** the same without `cage.yaml`: what needs no approval */
  baseline: Rights
  /** absent when there is no cage.yaml */
  file?: string
}
