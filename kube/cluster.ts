import type {Readable, Writable} from 'node:stream'
import type {KubeObject} from '../core/kube-object.js'

/** Which object: `apiVersion` and `kind` as in a manifest, e.g. `apps/v1`, `Deployment`. */
export interface ObjectRef {
  apiVersion: string
  kind: string
  name: string
  /** absent for objects that live in no namespace */
  namespace?: string
}

export interface ListOptions {
  apiVersion: string
  kind: string
  /** absent = all namespaces */
  namespace?: string
  /** e.g. `cage.internal/component=task` */
  labelSelector?: string
  /** e.g. `status.phase=Running` */
  fieldSelector?: string
  signal?: AbortSignal
}

export interface CallOptions {
  signal?: AbortSignal
}

export interface WriteOptions extends CallOptions {
  /** judged by the API server and its admission policies, but not stored */
  dryRun?: boolean
}

export interface DeleteOptions extends CallOptions {
  /** seconds between SIGTERM and SIGKILL; absent = the object's own */
  gracePeriodSeconds?: number
  /** wait until the object is gone; CLUSTER_DEADLINE after that many milliseconds */
  wait?: {deadlineMs: number}
}

export interface WaitOptions extends CallOptions {
  /** what is waited for, in the words of the error: `not within 60 s: the pod of task login is ready` */
  what: string
  deadlineMs: number
  /** what the person can do when the deadline passed */
  hints?: readonly string[]
}

export interface TerminalSize {
  columns: number
  rows: number
}

export interface ExecOptions extends CallOptions {
  namespace: string
  pod: string
  container: string
  argv: readonly [string, ...string[]]
  /** bytes for the process; its end closes the process's stdin. Absent = no stdin */
  stdin?: Readable
  /** absent = stdout is not asked for */
  stdout?: Writable
  /** absent = stderr is not asked for; with `tty` everything arrives on stdout */
  stderr?: Writable
  /** a terminal of that size at the start */
  tty?: TerminalSize
  /** registers for later sizes; returns how to unregister. Only with `tty` */
  onResize?: (listener: (size: TerminalSize) => void) => () => void
}

export interface LogOptions extends CallOptions {
  namespace: string
  pod: string
  container: string
  follow?: boolean
  /** RFC 3339 */
  since?: string
  /** lines from the end */
  tail?: number
  /** of the container before its last restart */
  previous?: boolean
}

export interface ClusterVersion {
  /** e.g. `v1.36.3` */
  gitVersion: string
  major: number
  minor: number
}

export interface NodeFacts {
  name: string
  ready: boolean
  internalIp: string
  /** e.g. `v1.36.3` */
  kubelet: string
  /** e.g. `containerd://2.4.2` */
  runtime: string
  /** the runtime can start pods with `hostUsers: false` */
  userNamespaces: boolean
  /** e.g. `amd64` */
  architecture: string
}

/** One thing that the owner of the kubeconfig would like to do. */
export interface Access {
  verb: string
  /** API group, empty for the core */
  group: string
  /** plural, with its part: `pods/exec` */
  resource: string
  /** absent = all namespaces, or what lives in none */
  namespace?: string
}

/**
 * One Kubernetes cluster, reached with one kubeconfig.
 * - Every method MUST throw a CageError and nothing else: see `kube/errors.ts` for the codes.
 * - No message MAY contain a header, a request body or the value of a Secret.
 * - Every method MUST end soon after its signal fires, with code INTERRUPTED.
 * - Requests that change nothing twice (read, apply, delete) MUST be tried again for a few seconds when the API server
 *   drops the connection, is overloaded or restarts; `create`, `exec` and `logs` MUST NOT.
 */
export interface Cluster {
  /** MUST apply on the server side, in the order given, field manager `cage`, taking over conflicting fields. */
  apply(objects: readonly KubeObject[], options?: WriteOptions): Promise<void>

  /** MUST answer `exists` and change nothing when an object of that name is there. Pods are created, not applied. */
  create(object: KubeObject, options?: WriteOptions): Promise<'created' | 'exists'>

  /** MUST answer undefined when there is no such object. Dates stay strings. */
  get<T extends KubeObject = KubeObject>(ref: ObjectRef, options?: CallOptions): Promise<T | undefined>

  /** MUST return all pages; every item carries its `apiVersion` and `kind`. */
  list<T extends KubeObject = KubeObject>(options: ListOptions): Promise<T[]>

  /** MUST answer false when there is no such object. What it owns is deleted in the background. */
  delete(ref: ObjectRef, options?: DeleteOptions): Promise<boolean>

  /** JSON merge patch (RFC 7386), e.g. `{metadata: {annotations: {…}}}`; null removes a field. */
  patch(ref: ObjectRef, mergePatch: Readonly<Record<string, unknown>>, options?: WriteOptions): Promise<void>

  /**
   * Runs a program in a container and resolves with its exit code.
   * - MUST pass bytes unchanged in both directions and MUST read no faster than `stdout` and `stderr` take them.
   * - MUST close the program's stdin when `stdin` ends, and go on delivering output.
   * - MUST flush and MUST NOT end `stdout` and `stderr`: they belong to the caller. A reader that went away (EPIPE)
   *   ends the program's output, not this process.
   * - MUST throw with exit code 255 when the program's own exit code never arrives: EXEC_NOT_STARTED, EXEC_LOST.
   */
  exec(options: ExecOptions): Promise<number>

  /** MUST resolve once the log ended (or, with `follow`, the container did). MUST NOT end `out`. */
  logs(options: LogOptions, out: Writable): Promise<void>

  /**
   * Resolves with the object (undefined = gone) as soon as `predicate` holds for it; the present state is judged first.
   * - MUST survive a closed watch, a restart of the API server and an expired resource version.
   * - MUST throw CLUSTER_DEADLINE when the deadline passed, and whatever `predicate` throws at once.
   */
  waitFor<T extends KubeObject = KubeObject>(
    ref: ObjectRef,
    predicate: (object: T | undefined) => boolean,
    options: WaitOptions,
  ): Promise<T | undefined>

  /** MUST ask the API server (SelfSubjectAccessReview), not guess. */
  may(access: Access, options?: CallOptions): Promise<boolean>

  version(options?: CallOptions): Promise<ClusterVersion>

  nodes(options?: CallOptions): Promise<NodeFacts[]>

  /** MUST answer false, not throw, while the API server does not answer or is not ready. */
  ready(options?: CallOptions): Promise<boolean>

  /** Closes idle connections; the cluster is not usable afterwards. */
  close(): Promise<void>
}
