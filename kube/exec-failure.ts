import {CageError, messageOf} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import {visible} from '../core/quote.js'
import type {Cluster, ExecOptions} from './cluster.js'
import {connectionError, execError} from './errors.js'

interface ContainerStatus {
  name: string
  state?: {waiting?: {reason?: string}; terminated?: {reason?: string; exitCode?: number}; running?: object}
}

/** A refused upgrade says only a number; what the pod is like says why. */
export async function explainExec(
  cluster: Pick<Cluster, 'get'>,
  server: string,
  options: ExecOptions,
  error: unknown,
): Promise<CageError> {
  if (error instanceof CageError) return error
  const {namespace, pod, container} = options
  // A socket fails with an event that carries the error.
  const cause = error instanceof Error ? error : (error as {error?: unknown}).error
  const refused = /Unexpected server response: (\d+)/.exec(messageOf(cause))
  if (!refused) {
    const unreachable = connectionError(`run ${options.argv[0]} in ${namespace}/${pod}`, server, cause)
    return execError('EXEC_NOT_STARTED', unreachable.message, cause)
  }
  let object: KubeObject | undefined
  try {
    object = await cluster.get({apiVersion: 'v1', kind: 'Pod', name: pod, namespace})
  } catch (why) {
    return execError('EXEC_NOT_STARTED', `cannot run ${options.argv[0]}: ${messageOf(why)}`, why)
  }
  const not = (why: string) => execError('EXEC_NOT_STARTED', `cannot run ${options.argv[0]}: ${why}`, cause)
  if (!object) return not(`there is no pod ${namespace}/${pod}`)
  const status = (object['status'] ?? {}) as Record<string, ContainerStatus[] | undefined>
  const all = [...(status['initContainerStatuses'] ?? []), ...(status['containerStatuses'] ?? [])]
  const state = all.find(({name}) => name === container)?.state
  if (state?.waiting)
    return not(`container ${container} is not running yet (${visible(state.waiting.reason ?? '')})`)
  if (state?.terminated)
    return not(`container ${container} has ended (${visible(state.terminated.reason ?? '')})`)
  if (!state) return not(`pod ${namespace}/${pod} has no running container ${container}`)
  return not(`the cluster answered HTTP ${refused[1] ?? ''}`)
}
