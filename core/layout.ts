/**
 * What the pods agree on: users, ports, paths and names inside the cluster.
 * Manifests write them into pods; proxy, dispatcher and the image scripts rely on them.
 */

export const uid = {agent: 1000, gate: 64001, git: 64002, sidecar: 64000} as const

/** TCP ports in a task pod's network namespace. */
export const sidecarPort = {
  /** explicit proxy: CONNECT and absolute-form */
  explicit: 3128,
  /** every TCP port but 80 and 443 ends here: denied and audited */
  otherTcp: 15001,
  /** DNS, UDP and TCP */
  dns: 15053,
  /** transparent HTTP */
  http: 15080,
  /** health and metrics, closed to the agent */
  health: 15090,
  /** transparent TLS */
  tls: 15443,
} as const

export const dispatcherPort = {
  /** HTTPS of `gate`, behind the Service's port 443 */
  gate: 8443,
  /** health of `gate` */
  health: 8090,
} as const

/** The one name in a task that always exists; hosted repositories are `https://git.cage.internal/<project>.git`. */
export const gitHost = 'git.cage.internal'

/** Synthetic addresses, one per host name, routed `local` in the pod (RFC 2544 range). */
export const syntheticRange = '198.18.0.0/15'

/**
 * The dispatcher's journal: a new segment begins after so many bytes, and so many full ones stay. A reader believes that
 * older records were removed for their age only when at least this much follows them.
 */
export const journalSegmentBytes = 32 * 1024 * 1024
export const journalKept = 7

/** The request header in which a sidecar shows its handle to the dispatcher. */
export const handleHeader = 'x-cage-handle'
/** What `gh` holds as a token: a constant without value. */
export const ghPlaceholder = 'cage-placeholder'

/** Paths in the sidecar container. */
export const sidecarPath = {
  /** Secret: grant.json, credentials.json, handle, private/… */
  grant: '/etc/cage/grant',
  /** memory volume: CA key, synthetic names, highest revision seen, control socket */
  state: '/var/lib/cage/state',
  /** claim: audit.jsonl, counters.json */
  ledger: '/var/lib/cage/ledger',
  /** Unix socket for a new grant and for health questions, reached by exec only */
  socket: '/var/lib/cage/state/control.sock',
} as const

/** The audit log at the top of the ledger's claim. */
export const ledgerFile = 'audit.jsonl'

/** Public certificate files, written by the sidecar, read-only in the agent. */
export const trustPath = {
  dir: '/run/cage',
  /** the pod's CA alone, PEM */
  ca: '/run/cage/ca.pem',
  /** system roots and the pod's CA, PEM */
  bundle: '/run/cage/bundle.pem',
  /** the same for Java, PKCS#12 */
  java: '/run/cage/truststore.p12',
} as const
export const javaTrustStorePassword = 'changeit'

/** Paths in the agent container. The task's volume is the home directory. */
export const agentPath = {
  home: '/home/agent',
  /** cage's own files on the task volume: state.json, the agent's exit code */
  state: '/home/agent/.cage',
  /** programs of the image that belong to cage: init, clone, agent start */
  bin: '/usr/lib/cage',
  /** read-only ConfigMap: task.json, prompt, setup, imported files */
  task: '/etc/cage/task',
} as const

/** Paths in the dispatcher's containers. */
export const dispatcherPath = {
  /** claim: repositories/, documents/, journal/, owned by uid.git */
  volume: '/var/lib/cage',
  /** emptyDir shared by gate and git: git.sock (served by git), gate.sock (served by gate) */
  run: '/run/cage',
  gitSocket: '/run/cage/git.sock',
  controlSocket: '/run/cage/control.sock',
  /** Secret, gate only: tls.crt, tls.key */
  tls: '/etc/cage/tls',
  /** gate only, a part of the claim that `git` does not mount: the highest revision seen of every document */
  gateState: '/var/lib/cage-gate',
} as const

/** Labels and annotations on every object of a task. */
export const label = {
  project: 'cage.internal/project',
  task: 'cage.internal/task',
  component: 'cage.internal/component',
} as const
export const annotation = {
  agent: 'cage.internal/agent',
  base: 'cage.internal/base',
  branch: 'cage.internal/branch',
  /** the task's record as JSON, written by the CLI: what `task start` needs to build the pod again */
  record: 'cage.internal/record',
  revision: 'cage.internal/revision',
  /** on namespaces of an `existing` cluster: whose project it is */
  owner: 'cage.internal/owner',
  /** on the task namespace of an `existing` cluster: what the last probe of NetworkPolicy found, and when */
  networkPolicy: 'cage.internal/network-policy',
} as const

/** Names of the cluster objects of one project; `id` is `<project>-<8 hex>`. */
export const clusterNames = {
  taskNamespace: (id: string): string => id,
  dispatcherNamespace: (id: string): string => `${id}-dispatcher`,
  /** there for seconds: where NetworkPolicy of an `existing` cluster is tried */
  probeNamespace: (id: string): string => `${id}-probe`,
  dispatcher: 'dispatcher',
  dispatcherTls: 'dispatcher-tls',
  pod: (task: string): string => `task-${task}`,
  grant: (task: string): string => `grant-${task}`,
  config: (task: string): string => `config-${task}`,
  home: (task: string): string => `home-${task}`,
  ledger: (task: string): string => `ledger-${task}`,
} as const

/** Container names of a task pod, in start order. */
export const container = {
  fence: 'fence',
  sidecar: 'sidecar',
  probe: 'probe',
  clone: 'clone',
  agent: 'agent',
} as const

/** Container names of the dispatcher's pod. */
export const dispatcherContainer = {gate: 'gate', git: 'git'} as const

/** Options of `node` for what packs go through: what is dropped at once is collected at once, instead of megabytes later. */
export const smallHeap = ['--max-semi-space-size=1'] as const

/** The programs in the images of sidecar and dispatcher, started with `node`. */
export const program = {proxy: '/usr/lib/cage/proxy.js', dispatcher: '/usr/lib/cage/dispatcher.js'} as const
