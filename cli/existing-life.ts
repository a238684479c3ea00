import {CageError, messageOf} from '../core/errors.js'
import {clusterNames} from '../core/layout.js'
import type {Cluster} from '../kube/cluster.js'
import {notedEnforcement} from '../provision/steps/network-policy.js'
import {openExisting, requireSameCluster} from '../provision/existing/open.js'
import {ownerOf, removeFromCluster} from '../provision/existing/ownership.js'
import {projectGrantKey} from '../provision/state/grant-key.js'
import {readRecord, type ExistingCluster} from '../provision/state/machine-record.js'
import {isReady} from '../provision/steps/dispatcher.js'
import {auditKeeper} from '../tasks/audit/keep.js'
import {stopTask} from '../tasks/stop-start.js'
import {listStored} from '../tasks/store.js'
import type {Opening} from './openings.js'
import type {ProjectContext} from './project-context.js'
import {taskContext} from './task-context.js'

/** `cage down` in a cluster that was there: no pod of the project is left, its volumes are. */
export async function stopInCluster(
  project: ProjectContext,
  onLoss: (task: string, why: string) => void,
): Promise<{tasks: string[]; stopped: boolean}> {
  const context = await taskContext(project)
  const tasks: string[] = []
  for (const stored of await listStored(context)) {
    if (stored.record.wanted === 'stopped' || stored.record.wanted === 'removing') continue
    await stopTask(context, stored, auditKeeper(context, project.files.audit, onLoss))
    tasks.push(stored.name)
  }
  const {cluster, reporter, signal} = {...context, signal: project.signal}
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    name: clusterNames.dispatcher,
    namespace: clusterNames.dispatcherNamespace(project.id),
  }
  const ran = await isReady(cluster, project.id, signal)
  reporter.begin('stop the dispatcher')
  if (await cluster.get(deployment, {signal}))
    await cluster.patch(deployment, {spec: {replicas: 0}}, {signal})
  reporter.done(ran ? undefined : 'it was not running')
  return {tasks, stopped: ran || tasks.length > 0}
}

/** `cage destroy` in a cluster that was there: exactly what bears the project's mark. */
export async function removeFromExisting(
  project: ProjectContext,
  existing: ExistingCluster,
): Promise<{removed: string[]; left: string[]}> {
  const {files, id, signal, reporter} = project
  try {
    const {cluster, existing: now} = await openExisting(existing, signal)
    try {
      requireSameCluster(await readRecord(files.record), now)
      const owner = ownerOf((await projectGrantKey(files)).publicKey)
      const {removed, left} = await removeFromCluster(
        cluster,
        {id, owner},
        {signal, detail: (text) => reporter.detail(text)},
      )
      return {removed, left: [...left, `images in ${existing.registry}: other projects may use them`]}
    } finally {
      await cluster.close()
    }
  } catch (cause) {
    if (!(cause instanceof CageError) || !UNREACHED.has(cause.code)) throw cause
    throw new CageError(`nothing was removed: ${messageOf(cause)}`, {
      code: cause.code,
      exitCode: cause.exitCode,
      hints: [
        ...cause.hints,
        `If that cluster is gone for good, remove what cage keeps of it here: rm -r ${files.directory}`,
      ],
      cause,
    })
  }
}

const UNREACHED = new Set([
  'CLUSTER_CERTIFICATE',
  'CLUSTER_UNAUTHENTICATED',
  'CLUSTER_UNAVAILABLE',
  'CLUSTER_UNREACHABLE',
  'KUBECONFIG_INVALID',
  'PROJECT_ELSEWHERE',
])

/** What stands where a machine would have its firewall, and the opening that is there if nothing does. */
export async function closedBy(
  cluster: Cluster,
  id: string,
): Promise<{networkPolicy: string; openings: Opening[]}> {
  const noted = await notedEnforcement(cluster, id)
  const when = noted ? `${new Date(noted.at).toISOString().slice(0, 16)}Z` : ''
  if (noted?.found === 'enforced')
    return {
      networkPolicy: `enforced, seen by a probe at ${when}: stands for the machine firewall`,
      openings: [],
    }
  const networkPolicy =
    noted?.found === 'open'
      ? `not enforced by this cluster, seen by a probe at ${when}; no machine firewall either`
      : 'not known whether it is enforced: the probe proved nothing; no machine firewall either'
  const why =
    'only fence and sidecar of each pod close it: no machine firewall, and NetworkPolicy is not seen to act'
  return {networkPolicy, openings: [{address: 'the cluster’s own network', port: 0, why}]}
}
