import {randomUUID} from 'node:crypto'
import type {KubeConfig, RequestContext} from '@kubernetes/client-node'
import type {Dispatcher} from 'undici'
import {CageError, ExitCode, messageOf} from '../core/errors.js'
import {ApiCluster} from './api-cluster.js'
import type {Cluster} from './cluster.js'
import {execError} from './errors.js'
import type {ExecSocket, OpenSocket} from './exec.js'
import {ApiServer, type Access} from './server.js'

const HANDSHAKE_MS = 30_000

/**
 * Connects with one kubeconfig file, and only that: never the user's own configuration, never the environment.
 * Nothing is sent before the first call. Errors: KUBECONFIG_INVALID.
 */
export async function connect(options: {
  kubeconfig: string
  context?: string
  /** where the API server answers instead: a tunnel; its certificate is still checked, by the name that each has */
  at?: {host: string; port: number}
}): Promise<Cluster> {
  const {Exec, KubeConfig} = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  try {
    config.loadFromFile(options.kubeconfig)
  } catch (cause) {
    throw unusable(options.kubeconfig, messageOf(cause), cause)
  }
  if (options.context !== undefined) config.setCurrentContext(options.context)
  const context = config.getContextObject(config.getCurrentContext())
  const named = config.getCurrentCluster()
  const {at} = options
  const cluster =
    named && at ? {...named, server: `https://${at.host}:${at.port}`, tlsServerName: 'kubernetes'} : named
  const user = config.getCurrentUser()
  if (!context || !cluster || !user) {
    throw unusable(options.kubeconfig, `no usable context "${config.getCurrentContext()}"`)
  }
  // The library caches credentials by user name across configurations.
  const unique = {...user, name: `${user.name}@${randomUUID()}`}
  config.loadFromOptions({
    clusters: [cluster],
    users: [unique],
    contexts: [{...context, user: unique.name}],
    currentContext: context.name,
  })
  const {handler} = new Exec(config)
  // Its own stream handling would end this process's output when the server closes a channel.
  Object.assign(handler, {streams: {stdin: {pause: ignore}, stdout: {end: ignore}, stderr: {end: ignore}}})
  const open: OpenSocket = (path, receive) => {
    const opening: Promise<unknown> = handler.connect(path, null, (channel, bytes) => {
      receive(channel, bytes)
      return true
    })
    return withDeadline(opening as Promise<ExecSocket>)
  }
  const access = accessOf(config, cluster.server.replace(/\/+$/, ''))
  return new ApiCluster(new ApiServer(access), open, () => access.close())
}

function accessOf(config: KubeConfig, server: string): Access & {close(): Promise<void>} {
  let dispatcher: Dispatcher | undefined
  return {
    server,
    async credentials() {
      const headers: Record<string, string> = {}
      // The library makes a new connection pool for each request; the first one is kept.
      const context = {
        setHeaderParam: (name: string, value: string) => (headers[name] = value),
        setDispatcher: (made: Dispatcher) => (dispatcher ??= made),
      }
      await config.applySecurityAuthentication(context as unknown as RequestContext)
      return {headers, dispatcher}
    },
    async close() {
      await dispatcher?.close()
    },
  }
}

async function withDeadline(opening: Promise<ExecSocket>): Promise<ExecSocket> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      opening.then((socket) => socket.terminate()).catch(ignore)
      reject(
        execError('EXEC_LOST', `the cluster did not open the connection within ${HANDSHAKE_MS / 1000} s`),
      )
    }, HANDSHAKE_MS)
  })
  try {
    return await Promise.race([opening, late])
  } finally {
    clearTimeout(timer)
  }
}

function unusable(file: string, why: string, cause?: unknown): CageError {
  return new CageError(`cannot use the kubeconfig ${file}: ${why}`, {
    code: 'KUBECONFIG_INVALID',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage up`; it writes the kubeconfig of the project.'],
    cause,
  })
}

function ignore(): void {
  // nothing to do
}
