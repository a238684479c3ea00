import {createInterface} from 'node:readline'
import {Readable} from 'node:stream'
import {setTimeout as sleep} from 'node:timers/promises'
import {CageError} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import type {ObjectRef, WaitOptions} from './cluster.js'
import {deadlinePassed, interrupted} from './errors.js'
import {collectionPath, objectPath, refText} from './kinds.js'
import type {ApiServer} from './server.js'

/** the API server ends a watch after this many seconds; the state is then read again */
const WATCH_SECONDS = 20
const PAUSE_MS = 500

interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  object: KubeObject
}

/** Reads the object, then watches it; begins anew whenever the watch ends, until the predicate holds. */
export async function waitFor<T extends KubeObject>(
  server: ApiServer,
  ref: ObjectRef,
  predicate: (object: T | undefined) => boolean,
  options: WaitOptions,
): Promise<T | undefined> {
  const late = AbortSignal.timeout(options.deadlineMs)
  const signal = options.signal ? AbortSignal.any([options.signal, late]) : late
  try {
    for (;;) {
      const found = await round(server, ref, predicate, signal)
      if (found) return found.object
    }
  } catch (error) {
    if (options.signal?.aborted) throw interrupted(options.what)
    if (late.aborted) throw deadlinePassed(options.what, options.deadlineMs, options.hints)
    throw error
  }
}

/** One read and one watch; undefined = not yet. */
async function round<T extends KubeObject>(
  server: ApiServer,
  ref: ObjectRef,
  predicate: (object: T | undefined) => boolean,
  signal: AbortSignal,
): Promise<{object: T | undefined} | undefined> {
  let version: string | undefined
  try {
    const {status, body} = await server.json({
      purpose: `read ${refText(ref)}`,
      method: 'GET',
      path: objectPath(ref),
      accept: [404],
      repeatable: true,
      signal,
    })
    const object = status === 404 ? undefined : (body as T)
    if (predicate(object)) return {object}
    version = object?.metadata.resourceVersion
    for await (const event of events(server, ref, version, signal)) {
      if (event.type === 'ERROR') break
      if (event.type === 'BOOKMARK') continue
      const seen = event.type === 'DELETED' ? undefined : (event.object as T)
      if (predicate(seen)) return {object: seen}
    }
  } catch (error) {
    if (signal.aborted || !isRepairable(error)) throw error
    await sleep(PAUSE_MS, undefined, {signal})
  }
  return undefined
}

/** The server being away is what a wait is there to survive; a refusal is not. */
function isRepairable(error: unknown): boolean {
  return error instanceof CageError && ['CLUSTER_UNREACHABLE', 'CLUSTER_UNAVAILABLE'].includes(error.code)
}

async function* events(
  server: ApiServer,
  ref: ObjectRef,
  resourceVersion: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent> {
  const request = {purpose: `watch ${refText(ref)}`, signal}
  const response = await server.open({
    ...request,
    method: 'GET',
    path: collectionPath(ref.apiVersion, ref.kind, ref.namespace),
    query: {
      watch: 'true',
      fieldSelector: `metadata.name=${ref.name}`,
      timeoutSeconds: String(WATCH_SECONDS),
      ...(resourceVersion === undefined ? {} : {resourceVersion}),
    },
    // Expired: the next round reads the present state.
    accept: [410],
  })
  if (response.body === null || response.status === 410) {
    await response.body?.cancel()
    return
  }
  const body = Readable.fromWeb(response.body)
  const lines = createInterface({input: body, crlfDelay: Infinity})
  body.on('error', () => lines.close())
  try {
    for await (const line of lines) if (line !== '') yield JSON.parse(line) as WatchEvent
  } catch (error) {
    // A connection that broke, perhaps inside a line.
    throw server.failure(request, error)
  } finally {
    lines.close()
    body.destroy()
  }
}
