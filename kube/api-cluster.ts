import type {Writable} from 'node:stream'
import {CageError} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import type {
  Access,
  CallOptions,
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
} from './cluster.js'
import {runExec, type OpenSocket} from './exec.js'
import {explainExec} from './exec-failure.js'
import {collectionPath, objectPath, refText} from './kinds.js'
import {copyLogs} from './logs.js'
import {nodeFacts} from './nodes.js'
import type {ApiServer} from './server.js'
import {waitFor} from './watch.js'

const FIELD_MANAGER = 'cage'
const PAGE = 250

/** The cluster over its API server. */
export class ApiCluster implements Cluster {
  private readonly server: ApiServer
  private readonly open: OpenSocket
  private readonly release: () => Promise<void>

  constructor(server: ApiServer, open: OpenSocket, release: () => Promise<void>) {
    this.server = server
    this.open = open
    this.release = release
  }

  async apply(objects: readonly KubeObject[], options: WriteOptions = {}): Promise<void> {
    for (const object of objects) {
      const ref = refOf(object)
      await this.server.json({
        purpose: `apply ${refText(ref)}`,
        method: 'PATCH',
        path: objectPath(ref),
        query: {fieldManager: FIELD_MANAGER, force: 'true', ...dryRun(options)},
        body: object,
        contentType: 'application/apply-patch+yaml',
        repeatable: true,
        secret: isSecret(ref),
        signal: options.signal,
      })
    }
  }

  async create(object: KubeObject, options: WriteOptions = {}): Promise<'created' | 'exists'> {
    const ref = refOf(object)
    const {status, body} = await this.server.json({
      purpose: `create ${refText(ref)}`,
      method: 'POST',
      path: collectionPath(ref.apiVersion, ref.kind, ref.namespace),
      query: {fieldManager: FIELD_MANAGER, ...dryRun(options)},
      body: object,
      accept: [409],
      secret: isSecret(ref),
      signal: options.signal,
    })
    if (status !== 409) return 'created'
    if ((body as {reason?: string}).reason === 'AlreadyExists') return 'exists'
    throw new CageError(`cannot create ${refText(ref)}: it is being deleted or its namespace is`, {
      code: 'CLUSTER_CONFLICT',
      hints: ['Try again in a few seconds.'],
    })
  }

  async get<T extends KubeObject = KubeObject>(
    ref: ObjectRef,
    options: CallOptions = {},
  ): Promise<T | undefined> {
    const {status, body} = await this.server.json({
      purpose: `read ${refText(ref)}`,
      method: 'GET',
      path: objectPath(ref),
      accept: [404],
      repeatable: true,
      signal: options.signal,
    })
    return status === 404 ? undefined : (body as T)
  }

  async list<T extends KubeObject = KubeObject>(options: ListOptions): Promise<T[]> {
    const {apiVersion, kind} = options
    const items: T[] = []
    let page: string | undefined
    do {
      const {body} = await this.server.json({
        purpose: `list ${kind}${options.namespace === undefined ? '' : ` in ${options.namespace}`}`,
        method: 'GET',
        path: collectionPath(apiVersion, kind, options.namespace),
        query: {
          limit: String(PAGE),
          ...(options.labelSelector === undefined ? {} : {labelSelector: options.labelSelector}),
          ...(options.fieldSelector === undefined ? {} : {fieldSelector: options.fieldSelector}),
          ...(page === undefined ? {} : {continue: page}),
        },
        repeatable: true,
        signal: options.signal,
      })
      const list = body as {items: T[]; metadata?: {continue?: string}}
      // Items of a list carry neither.
      for (const item of list.items) items.push({...item, apiVersion, kind})
      page = list.metadata?.continue === '' ? undefined : list.metadata?.continue
    } while (page !== undefined)
    return items
  }

  async delete(ref: ObjectRef, options: DeleteOptions = {}): Promise<boolean> {
    const {gracePeriodSeconds, wait, signal} = options
    const {status} = await this.server.json({
      purpose: `delete ${refText(ref)}`,
      method: 'DELETE',
      path: objectPath(ref),
      body: {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: 'Background',
        ...(gracePeriodSeconds === undefined ? {} : {gracePeriodSeconds}),
      },
      accept: [404],
      repeatable: true,
      signal,
    })
    if (wait) {
      const what = `${refText(ref)} is gone`
      await this.waitFor(ref, (object) => object === undefined, {...wait, what, ...(signal ? {signal} : {})})
    }
    return status !== 404
  }

  async patch(
    ref: ObjectRef,
    mergePatch: Readonly<Record<string, unknown>>,
    options: WriteOptions = {},
  ): Promise<void> {
    await this.server.json({
      purpose: `change ${refText(ref)}`,
      method: 'PATCH',
      path: objectPath(ref),
      query: {fieldManager: FIELD_MANAGER, ...dryRun(options)},
      body: mergePatch,
      contentType: 'application/merge-patch+json',
      repeatable: true,
      secret: isSecret(ref),
      signal: options.signal,
    })
  }

  async exec(options: ExecOptions): Promise<number> {
    try {
      return await runExec(this.open, options)
    } catch (error) {
      throw await explainExec(this, this.server.address, options, error)
    }
  }

  logs(options: LogOptions, out: Writable): Promise<void> {
    return copyLogs(this.server, options, out)
  }

  waitFor<T extends KubeObject = KubeObject>(
    ref: ObjectRef,
    predicate: (object: T | undefined) => boolean,
    options: WaitOptions,
  ): Promise<T | undefined> {
    return waitFor(this.server, ref, predicate, options)
  }

  async may(access: Access, options: CallOptions = {}): Promise<boolean> {
    const {verb, group, resource: path, namespace} = access
    const [resource = '', subresource = ''] = path.split('/')
    const {body} = await this.server.json({
      purpose: `ask whether it permits to ${verb} ${path}`,
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: {resourceAttributes: {verb, group, resource, subresource, ...(namespace ? {namespace} : {})}},
      },
      repeatable: true,
      signal: options.signal,
    })
    return (body as {status?: {allowed?: boolean}}).status?.allowed === true
  }

  async version(options: CallOptions = {}): Promise<ClusterVersion> {
    const {body} = await this.server.json({
      purpose: 'read the version of the cluster',
      method: 'GET',
      path: '/version',
      repeatable: true,
      signal: options.signal,
    })
    const {gitVersion, major, minor} = body as {gitVersion: string; major: string; minor: string}
    return {
      gitVersion,
      major: Number.parseInt(major, 10),
      minor: Number.parseInt(minor, 10),
    }
  }

  async nodes(options: CallOptions = {}): Promise<NodeFacts[]> {
    return (await this.list({apiVersion: 'v1', kind: 'Node', ...options})).map(nodeFacts)
  }

  async ready(options: CallOptions = {}): Promise<boolean> {
    try {
      const response = await this.server.open({
        purpose: 'ask whether the API server is ready',
        method: 'GET',
        path: '/readyz',
        timeoutMs: 5000,
        signal: options.signal,
      })
      await response.body?.cancel()
      return true
    } catch (error) {
      if (options.signal?.aborted) throw error
      return false
    }
  }

  close(): Promise<void> {
    return this.release()
  }
}

function refOf(object: KubeObject): ObjectRef {
  const {apiVersion, kind, metadata} = object
  return {
    apiVersion,
    kind,
    name: metadata.name,
    ...(metadata.namespace === undefined ? {} : {namespace: metadata.namespace}),
  }
}

function isSecret(ref: ObjectRef): boolean {
  return ref.kind === 'Secret'
}

function dryRun(options: WriteOptions): Record<string, string> {
  return options.dryRun ? {dryRun: 'All'} : {}
}
