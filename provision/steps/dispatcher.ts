import {CageError, ExitCode} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {clusterNames} from '../../core/layout.js'
import type {Cluster, ObjectRef} from '../../kube/cluster.js'
import type {Step, StepTools} from '../pipeline.js'
import type {ServerCertificate} from '../state/authority.js'
import {areApplied, stamped} from './applied.js'

interface DeploymentObject extends KubeObject {
  metadata: KubeObject['metadata'] & {generation?: number}
  status?: {observedGeneration?: number; readyReplicas?: number; updatedReplicas?: number}
}
interface ServiceObject extends KubeObject {
  spec?: {clusterIP?: string}
}
interface SecretObject extends KubeObject {
  data?: Record<string, string>
}

/**
 * The dispatcher's objects, applied and answering. `volume` makes the disk of the hosted repositories; `answers` asks it
 * something: right after the start of a node its pod still counts as ready, as it was when the node stopped.
 */
export function dispatcherStep(options: {
  id: string
  cluster: () => Promise<Cluster>
  objects: (current: ServerCertificate | undefined) => Promise<readonly KubeObject[]>
  volume: () => Promise<void>
  answers: () => Promise<boolean>
}): Step {
  const {id, cluster, answers} = options
  const wanted = async () => stamped(await options.objects(await currentCertificate(await cluster(), id)))
  return {
    name: 'dispatcher',
    // On an emulated processor its first start takes minutes.
    deadlineMs: 15 * 60_000,
    hints: ['Run `cage doctor`, then `cage up` again.', 'Look inside with `cage machine ssh`.'],
    check: async ({signal}) =>
      (await areApplied(await cluster(), await wanted(), {signal})) &&
      (await isReady(await cluster(), id, signal)) &&
      (await answers()),
    act: async (tools) => {
      tools.detail('making its volume')
      await options.volume()
      tools.detail('applying its objects')
      await (await cluster()).apply(await wanted(), {signal: tools.signal})
      await ready(await cluster(), id, tools)
      return undefined
    },
    verify: async ({signal}) => (await isReady(await cluster(), id, signal)) && (await answers()),
  }
}

/** ClusterIP of the dispatcher. Errors: DISPATCHER_MISSING, exit 3. */
export async function dispatcherAddress(cluster: Cluster, id: string): Promise<string> {
  const service = await cluster.get<ServiceObject>({
    apiVersion: 'v1',
    kind: 'Service',
    name: clusterNames.dispatcher,
    namespace: clusterNames.dispatcherNamespace(id),
  })
  const address = service?.spec?.clusterIP
  if (address) return address
  throw new CageError('this project has no dispatcher yet', {
    code: 'DISPATCHER_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage up`.'],
  })
}

function deploymentOf(id: string): ObjectRef {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    name: clusterNames.dispatcher,
    namespace: clusterNames.dispatcherNamespace(id),
  }
}

function rolledOut(deployment: DeploymentObject | undefined): boolean {
  const {status, metadata} = deployment ?? {}
  return (
    status !== undefined &&
    (status.observedGeneration ?? 0) >= (metadata?.generation ?? 1) &&
    (status.readyReplicas ?? 0) >= 1 &&
    (status.updatedReplicas ?? 0) >= 1
  )
}

export async function isReady(cluster: Cluster, id: string, signal?: AbortSignal): Promise<boolean> {
  return rolledOut(await cluster.get<DeploymentObject>(deploymentOf(id), signal ? {signal} : {}))
}

async function ready(cluster: Cluster, id: string, {signal, detail}: StepTools): Promise<void> {
  detail('waiting until it answers')
  const what = 'the dispatcher is ready'
  try {
    await cluster.waitFor<DeploymentObject>(deploymentOf(id), rolledOut, {
      what,
      deadlineMs: 14 * 60_000,
      signal,
    })
  } catch (cause) {
    if (!(cause instanceof CageError) || cause.code !== 'CLUSTER_DEADLINE') throw cause
    const why = await trouble(cluster, id, signal)
    if (why === undefined) throw cause
    throw new CageError(`${cause.message}: ${why}`, {code: cause.code, exitCode: cause.exitCode, cause})
  }
}

interface PodObject extends KubeObject {
  status?: {
    conditions?: {type: string; status: string; message?: string}[]
    containerStatuses?: {name: string; state?: {waiting?: {reason?: string; message?: string}}}[]
  }
}

/** Why its pod does not run, in the words of the cluster. */
async function trouble(cluster: Cluster, id: string, signal: AbortSignal): Promise<string | undefined> {
  const namespace = clusterNames.dispatcherNamespace(id)
  const [pod] = await cluster.list<PodObject>({apiVersion: 'v1', kind: 'Pod', namespace, signal})
  if (!pod) return 'it has no pod: quota or admission refuses it'
  const {conditions = [], containerStatuses = []} = pod.status ?? {}
  const unplaced = conditions.find(({type, status}) => type === 'PodScheduled' && status === 'False')
  if (unplaced) return unplaced.message
  return containerStatuses.flatMap(({name, state}) => {
    const {reason, message = ''} = state?.waiting ?? {}
    return reason === undefined ? [] : [`${name}: ${reason} ${message}`.trim()]
  })[0]
}

async function currentCertificate(cluster: Cluster, id: string): Promise<ServerCertificate | undefined> {
  const secret = await cluster.get<SecretObject>({
    apiVersion: 'v1',
    kind: 'Secret',
    name: clusterNames.dispatcherTls,
    namespace: clusterNames.dispatcherNamespace(id),
  })
  const read = (key: string) => Buffer.from(secret?.data?.[key] ?? '', 'base64').toString()
  return secret ? {certificate: read('tls.crt'), key: read('tls.key')} : undefined
}
