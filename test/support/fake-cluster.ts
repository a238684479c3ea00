import type {Writable} from 'node:stream'
import {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import type {
  Access,
  Cluster,
  ClusterVersion,
  DeleteOptions,
  ExecOptions,
  ListOptions,
  LogOptions,
  NodeFacts,
  ObjectRef,
  WaitOptions,
  WriteOptions,
} from '../../kube/cluster.js'
import {deadlinePassed, interrupted} from '../../kube/errors.js'

/** One exec as a script sees it: all of stdin is read before the script is asked. */
export interface FakeExecCall {
  namespace: string
  pod: string
  container: string
  argv: readonly string[]
  tty: boolean
  stdin: Buffer
  stdout: (text: string | Buffer) => void
  stderr: (text: string | Buffer) => void
}
type ExecScript = (call: FakeExecCall) => number | Promise<number>

/**
 * A cluster in memory. Objects appear as they are written; nothing schedules or runs them, a test does that with
 * `onWrite` or `put`. Exec and logs are scripted. `calls` records every write and exec, e.g. `create Pod shop/task-a`.
 */
export class FakeCluster implements Cluster {
  readonly calls: string[] = []
  /** answers exec; default: there is no such program */
  execScript: ExecScript = () => 127
  /** answers logs */
  logText: (options: LogOptions) => string = () => ''
  versionAnswer: ClusterVersion = {gitVersion: 'v1.36.3', major: 1, minor: 36}
  nodeAnswer: NodeFacts[] = [
    {
      name: 'cage',
      ready: true,
      internalIp: '10.254.9.2',
      kubelet: 'v1.36.3',
      runtime: 'containerd://2.4.2',
      userNamespaces: true,
      architecture: 'amd64',
    },
  ]
  /** what `may` says no to, e.g. `create pods/exec` */
  readonly forbidden = new Set<string>()
  private readonly objects = new Map<string, KubeObject>()
  private readonly waiting = new Set<() => void>()
  private readonly writers: ((object: KubeObject) => void)[] = []
  private readonly failures = new Map<string, CageError[]>()
  private version_ = 0

  /** Called with every object that is created or applied, after it is stored: change it with `put`. */
  onWrite(listener: (object: KubeObject) => void): void {
    this.writers.push(listener)
  }

  /** The next call of that kind fails, e.g. `fail('create Pod shop/task-a', new CageError(…))`. */
  fail(call: string, error: CageError): void {
    this.failures.set(call, [...(this.failures.get(call) ?? []), error])
  }

  /** Sets an object as a controller would; recorded nowhere. */
  put(object: KubeObject): void {
    const stored = structuredClone(object)
    stored.metadata.resourceVersion = String(++this.version_)
    stored.metadata.uid ??= `uid-${this.version_}`
    stored.metadata.creationTimestamp ??= '2026-01-01T00:00:00Z'
    this.objects.set(key(refOf(object)), stored)
    this.wake()
  }

  /** Every object of a kind, in the order of first writing. */
  all(kind: string): KubeObject[] {
    return [...this.objects.values()].filter((object) => object.kind === kind)
  }

  apply(objects: readonly KubeObject[], options: WriteOptions = {}): Promise<void> {
    return run(() => {
      for (const object of objects) {
        this.record('apply', refOf(object))
        if (!options.dryRun) this.store({...this.objects.get(key(refOf(object))), ...object})
      }
    })
  }

  create(object: KubeObject, options: WriteOptions = {}): Promise<'created' | 'exists'> {
    return run(() => {
      this.record('create', refOf(object))
      if (this.objects.has(key(refOf(object)))) return 'exists'
      if (!options.dryRun) this.store(object)
      return 'created'
    })
  }

  get<T extends KubeObject = KubeObject>(ref: ObjectRef): Promise<T | undefined> {
    return run(() => {
      this.throwPlanned(`get ${text(ref)}`)
      return structuredClone(this.objects.get(key(ref))) as T | undefined
    })
  }

  list<T extends KubeObject = KubeObject>(options: ListOptions): Promise<T[]> {
    return run(() => {
      this.throwPlanned(`list ${options.kind}`)
      return this.all(options.kind)
        .filter(({apiVersion}) => apiVersion === options.apiVersion)
        .filter(({metadata}) => options.namespace === undefined || metadata.namespace === options.namespace)
        .filter(({metadata}) => selects(options.labelSelector, (name) => metadata.labels?.[name]))
        .filter((object) => selects(options.fieldSelector, (path) => fieldOf(object, path)))
        .map((object) => structuredClone(object) as T)
    })
  }

  async delete(ref: ObjectRef, options: DeleteOptions = {}): Promise<boolean> {
    this.record('delete', ref)
    const there = this.objects.delete(key(ref))
    this.wake()
    if (options.wait)
      await this.waitFor(ref, (object) => !object, {...options.wait, what: `${text(ref)} is gone`})
    return there
  }

  patch(
    ref: ObjectRef,
    mergePatch: Readonly<Record<string, unknown>>,
    options: WriteOptions = {},
  ): Promise<void> {
    return run(() => {
      this.record('patch', ref)
      const object = this.objects.get(key(ref))
      if (!object) throw new CageError(`cannot change ${text(ref)}`, {code: 'CLUSTER_NOT_FOUND', exitCode: 6})
      if (!options.dryRun) this.store(merged(object, mergePatch) as KubeObject)
    })
  }

  async exec(options: ExecOptions): Promise<number> {
    const {namespace, pod, container, argv} = options
    this.calls.push(`exec ${namespace}/${pod} ${container}: ${argv.join(' ')}`)
    this.throwPlanned(`exec ${namespace}/${pod}`)
    const input: Buffer[] = []
    for await (const chunk of options.stdin ?? []) input.push(Buffer.from(chunk as Buffer))
    return this.execScript({
      namespace,
      pod,
      container,
      argv,
      tty: options.tty !== undefined,
      stdin: Buffer.concat(input),
      stdout: (bytes) => void options.stdout?.write(bytes),
      stderr: (bytes) => void options.stderr?.write(bytes),
    })
  }

  logs(options: LogOptions, out: Writable): Promise<void> {
    return run(() => {
      this.throwPlanned(`logs ${options.namespace}/${options.pod}`)
      out.write(this.logText(options))
    })
  }

  async waitFor<T extends KubeObject = KubeObject>(
    ref: ObjectRef,
    predicate: (object: T | undefined) => boolean,
    options: WaitOptions,
  ): Promise<T | undefined> {
    this.throwPlanned(`waitFor ${text(ref)}`)
    const end = Date.now() + options.deadlineMs
    for (;;) {
      if (options.signal?.aborted) throw interrupted(options.what)
      const object = structuredClone(this.objects.get(key(ref))) as T | undefined
      if (predicate(object)) return object
      if (Date.now() >= end) throw deadlinePassed(options.what, options.deadlineMs, options.hints)
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer)
          options.signal?.removeEventListener('abort', wake)
          this.waiting.delete(wake)
          resolve()
        }
        const timer = setTimeout(wake, Math.max(0, end - Date.now()))
        options.signal?.addEventListener('abort', wake, {once: true})
        this.waiting.add(wake)
      })
    }
  }

  may({verb, resource}: Access): Promise<boolean> {
    return run(() => !this.forbidden.has(`${verb} ${resource}`))
  }

  version(): Promise<ClusterVersion> {
    return run(() => {
      this.throwPlanned('version')
      return this.versionAnswer
    })
  }

  nodes(): Promise<NodeFacts[]> {
    return run(() => {
      this.throwPlanned('nodes')
      return this.nodeAnswer
    })
  }

  ready(): Promise<boolean> {
    return run(() => this.nodeAnswer.length > 0)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  private store(object: KubeObject): void {
    const stored = structuredClone(object)
    if (stored.kind === 'Service') giveAddress(stored)
    this.put(stored)
    for (const writer of this.writers) writer(structuredClone(stored))
  }

  private record(verb: string, ref: ObjectRef): void {
    const call = `${verb} ${text(ref)}`
    this.calls.push(call)
    this.throwPlanned(call)
  }

  private throwPlanned(call: string): void {
    const planned = this.failures.get(call)?.shift()
    if (planned) throw planned
  }

  private wake(): void {
    for (const waiter of [...this.waiting]) waiter()
  }
}

/** The API server gives every Service an address. */
function giveAddress(service: KubeObject): void {
  const spec = service['spec'] as {clusterIP?: string}
  spec.clusterIP ??= '10.248.0.77'
}

async function run<T>(action: () => T): Promise<T> {
  await Promise.resolve()
  return action()
}

function refOf({apiVersion, kind, metadata: {name, namespace}}: KubeObject): ObjectRef {
  return {apiVersion, kind, name, ...(namespace === undefined ? {} : {namespace})}
}

function key(ref: ObjectRef): string {
  return [ref.apiVersion, ref.kind, ref.namespace ?? '', ref.name].join(' ')
}

function text(ref: ObjectRef): string {
  return `${ref.kind} ${ref.namespace === undefined ? '' : `${ref.namespace}/`}${ref.name}`
}

/** `a=b,c!=d,e`: equality and existence, which is all that cage uses. */
function selects(selector: string | undefined, value: (name: string) => string | undefined): boolean {
  return (selector ?? '')
    .split(',')
    .filter((term) => term !== '')
    .every((term) => {
      const [, name = '', operator, wanted] = /^([^!=]+)(?:(!?=)=?(.*))?$/.exec(term) ?? []
      if (operator === undefined) return value(name) !== undefined
      return (value(name) === wanted) === (operator === '=')
    })
}

function fieldOf(object: KubeObject, path: string): string | undefined {
  let at: unknown = object
  for (const step of path.split('.')) at = (at as Record<string, unknown> | undefined)?.[step]
  return typeof at === 'string' ? at : undefined
}

/** RFC 7386 */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const result: Record<string, unknown> = {
    ...(typeof target === 'object' && !Array.isArray(target) ? target : {}),
  }
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(result, name)
    else result[name] = merged(result[name], value)
  }
  return result
}
