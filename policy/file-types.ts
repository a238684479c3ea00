import type {CredentialSource} from './settings.js'

/** The two files after validation: every field optional, as written. The schema in policy/schema is the source. */

export interface RuleFile {
  host: string
  port?: number
  scheme?: 'https' | 'http'
  methods?: string[]
  paths?: string[]
  websocket?: boolean
  mcp?: {tools?: string[]; methods?: string[]}
  rate?: {rps?: number; concurrency?: number; bytesUp?: string}
}

export interface CredentialFile {
  name: string
  from?: CredentialSource
  inject?: {
    host: string
    port?: number
    header?: string
    template?: string
    basic?: {user: string}
    jsonPointer?: string
    sigv4?: {region: string; service: string}
  }
  as?: string
}

export interface Sections {
  machine?: {
    driver?: 'auto' | 'lima' | 'vagrant' | 'ssh' | 'local' | 'none'
    cpus?: number
    memory?: string
    disk?: string
    ssh?: {host: string; port?: number}
    image?: string
  }
  cluster?: {
    kind?: 'auto' | 'microk8s' | 'kubeadm' | 'existing'
    kubeconfig?: string
    context?: string
    registry?: string
    registryAuth?: string
    storageClass?: string
  }
  repository?: {
    upstream?: string
    credential?: string
    read?: string[]
    base?: string
    mode?: 'direct' | 'fork'
  }
  task?: {
    agent?: string
    image?: string
    cpu?: number
    memory?: string
    disk?: string
    env?: Record<string, string>
    files?: string[]
    setup?: string
    author?: string
    budget?: {tokens?: number; usd?: number; time?: string; upload?: string}
  }
  egress?: {
    presets?: string[]
    allow?: RuleFile[]
    deny?: RuleFile[]
    audit?: RuleFile[]
    routes?: Record<string, {url: string; ca?: string; pin?: string}>
  }
  git?: {
    push?: {
      force?: boolean
      delete?: boolean
      tags?: string[]
      deny?: string[]
      maxBlob?: string
      author?: 'any' | 'warn' | 'own'
    }
    secrets?: {onFinding?: 'deny' | 'hold' | 'warn'; allow?: string[]}
  }
}

export interface ProjectFile extends Sections {
  version?: 1
  project?: string
  credentials?: CredentialFile[]
}

export interface OperatorProject extends Sections {
  credentials?: Record<string, CredentialSource>
}

export interface OperatorFile {
  version?: 1
  defaults?: Sections
  projects?: Record<string, OperatorProject>
  ceiling?: {
    egress?: {presets?: string[]; hosts?: string[]; routes?: string[]}
    credentials?: {name: string; from?: string[]; hosts?: string[]}[]
  }
  github?: {app?: number; installation?: number; key?: CredentialSource; allowClassicToken?: boolean}
  import?: string[]
  network?: {
    resolver?: string[]
    upstreamProxy?: string
    hosts?: Record<string, {address: string; port?: number; ca?: string}>
    allowAddresses?: string[]
  }
}
