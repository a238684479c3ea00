import type {Clock} from '../../core/clock.js'
import {CageError, messageOf} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {clusterNames} from '../../core/layout.js'
import type {Cluster} from '../../kube/cluster.js'
import type {Check} from '../doctor.js'
import {openExisting, requireSameCluster, type ExistingWanted} from '../existing/open.js'
import {claimNamespace, isOwn} from '../existing/ownership.js'
import {clusterChecks, demandOfCluster, type Wanted} from '../existing/requirements.js'
import type {Step} from '../pipeline.js'
import type {Registry} from '../registry/client.js'
import type {ProjectFiles} from '../state/layout.js'
import {readRecord, writeRecord, type ExistingCluster, type ExistingRecord} from '../state/machine-record.js'
import {refOf} from './applied.js'

/** Everything that the cluster and the registry must offer, each missing thing named, before anything is made. */
export function existingPreflightStep(options: {
  files: ProjectFiles
  wanted: ExistingWanted
  offers: Wanted
  registry: () => Promise<Registry>
  record: (existing: ExistingCluster) => ExistingRecord
}): Step {
  const {files, wanted, offers} = options
  const noted = async (existing: ExistingCluster) =>
    JSON.stringify(await readRecord(files.record)) === JSON.stringify(options.record(existing))
  let found: ExistingCluster | undefined
  return {
    name: 'preflight',
    deadlineMs: 60_000,
    hints: ['docs/guide/teams.md says what a cluster must offer.'],
    check: async ({signal}) => {
      const {cluster, existing} = await openExisting(wanted, signal)
      found = existing
      try {
        requireSameCluster(await readRecord(files.record), existing)
        const checks = await Promise.all([
          clusterChecks(cluster, offers, {signal}),
          registryCheck(options.registry, signal),
        ])
        demandOfCluster(checks.flat())
        return await noted(existing)
      } finally {
        await cluster.close()
      }
    },
    act: async () => {
      if (found) await writeRecord(files.record, options.record(found))
      return found?.context
    },
    verify: async () => found !== undefined && (await noted(found)),
  }
}

/** That it answers and takes the account; a failure is named beside what the cluster lacks. */
async function registryCheck(registry: () => Promise<Registry>, signal: AbortSignal): Promise<Check> {
  const name = 'registry'
  try {
    await (await registry()).ping(signal)
    return {name, ok: true, found: 'answers', required: true}
  } catch (cause) {
    if (!(cause instanceof CageError) || !cause.code.startsWith('REGISTRY_')) throw cause
    const fix = cause.hints[0] ?? 'Name another one in `cluster.registry` of your own config.yaml.'
    return {name, ok: false, found: cause.message, fix, required: true}
  }
}

/** The project's namespaces bear its mark, and what all projects of the cluster share is there; none of it is changed. */
export function claimStep(options: {
  id: string
  owner: () => Promise<string>
  cluster: () => Promise<Cluster>
  /** made when missing, never changed */
  shared: () => Promise<readonly KubeObject[]>
}): Step {
  const {id} = options
  const names = [
    [clusterNames.taskNamespace(id), 'privileged'],
    [clusterNames.dispatcherNamespace(id), 'restricted'],
  ] as const
  return {
    name: 'namespaces',
    deadlineMs: 60_000,
    hints: ['Run `cage up` again.'],
    check: async ({signal}) => {
      const cluster = await options.cluster()
      const owner = await options.owner()
      const own = await Promise.all(names.map(([name]) => isOwn(cluster, name, owner, {signal})))
      const shared = await Promise.all(
        (await options.shared()).map((object) => cluster.get(refOf(object), {signal})),
      )
      return own.every(Boolean) && shared.every((object) => object !== undefined)
    },
    act: async ({signal}) => {
      const cluster = await options.cluster()
      const owner = await options.owner()
      for (const [name, podSecurity] of names)
        await claimNamespace(cluster, {id, owner, name, podSecurity}, {signal})
      for (const object of await options.shared()) await cluster.create(object, {signal})
      return undefined
    },
  }
}

/** A quota that was made just now counts nothing yet, and lets nothing in. */
const QUOTA_MS = 20_000
const ROUND_MS = 500

/** The cluster's own admission (webhooks, quotas, limits) lets a task's pod in; found out before the first task. */
export function admissionStep(
  clock: Clock,
  cluster: () => Promise<Cluster>,
  pod: () => Promise<KubeObject>,
): Step {
  return {
    name: 'admission',
    deadlineMs: 60_000,
    hints: ['Let your cluster’s policies, quotas and limits permit this pod in the namespace of the tasks.'],
    check: async ({signal}) => {
      const sample = await pod()
      const end = clock.now() + QUOTA_MS
      for (;;) {
        try {
          await (await cluster()).create(sample, {dryRun: true, signal})
          return true
        } catch (cause) {
          const why = messageOf(cause)
          // As many tasks as cage's own quota allows: that they are there is proof enough.
          if (why.includes('exceeded quota: tasks,')) return true
          if (!why.includes('status unknown for quota') || clock.now() >= end) throw cause
          await clock.sleep(ROUND_MS, signal)
        }
      }
    },
    act: () => Promise.resolve(undefined),
  }
}
