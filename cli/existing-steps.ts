import {join} from 'node:path'
import {CageError, ExitCode} from '../core/errors.js'
import {baseObjects} from '../manifests/base.js'
import type {BaseView} from '../manifests/base-view.js'
import {taskPod} from '../manifests/task-pod.js'
import {upstreamKind} from '../policy/upstream-kind.js'
import {ownerOf} from '../provision/existing/ownership.js'
import type {Step} from '../provision/pipeline.js'
import {projectGrantKey} from '../provision/state/grant-key.js'
import {baseObjectsStep} from '../provision/steps/base-objects.js'
import {admissionStep, claimStep, existingPreflightStep} from '../provision/steps/existing.js'
import {networkPolicyStep} from '../provision/steps/network-policy.js'
import {pushStep} from '../provision/steps/push.js'
import {selfCheckStep} from '../provision/steps/self-check.js'
import {computerTransport} from '../provision/transport/computer.js'
import {
  accountOf,
  architecture,
  existingDns,
  existingImages,
  existingTraits,
  projectRegistry,
  requireExisting,
  storageClassOf,
} from './existing-cluster.js'
import {resolvers} from './cluster-facts.js'
import {openingsOf} from './openings.js'
import type {ProjectContext} from './project-context.js'
import {upstreamWays} from './upstream-ways.js'

/** `cage up` without a machine: the cluster is asked, never changed beyond the project's own namespaces and policies. */
export function existingSteps(project: ProjectContext, dispatcher: Step, repository: Step): Step[] {
  const {id, settings, files, places, clock, runner} = project
  const {driver} = settings.machine
  if (driver !== 'none' && driver !== 'auto') {
    throw new CageError(`machine \`${driver}\` does not go with cluster \`existing\``, {
      code: 'MACHINE_DRIVER',
      exitCode: ExitCode.usage,
      hints: ['Write `machine: {driver: none}` beside `cluster: {kind: existing}`.'],
    })
  }
  const cluster = () => project.cluster()
  const owner = async () => ownerOf((await projectGrantKey(files)).publicKey)
  const registry = () => projectRegistry(project)
  const objects = async () => baseObjects(await existingBaseView(project))
  const isShared = ({kind}: {kind: string}) => kind === 'PriorityClass'
  return [
    existingPreflightStep({
      files,
      wanted: settings.cluster,
      offers: {
        id,
        architecture,
        resolver: settings.network.resolver.length > 0,
        ...storageClassOf(settings.cluster),
      },
      registry,
      record: (existing) => ({
        version: 1,
        id,
        project: settings.project,
        repository: project.repository.directory,
        driver: 'none',
        cluster: 'existing',
        existing,
      }),
    }),
    pushStep({
      root: places.packageRoot,
      cache: join(project.homes.cache, 'cage', 'images'),
      architecture,
      upstream: upstreamKind(settings.repository.upstream),
      registry,
      transport: computerTransport(runner),
      uid: process.getuid?.() ?? -1,
      runner,
      clock,
    }),
    claimStep({id, owner, cluster, shared: async () => (await objects()).filter(isShared)}),
    baseObjectsStep(cluster, async () => (await objects()).filter((object) => !isShared(object))),
    admissionStep(clock, cluster, async () => sampleTaskPod(project)),
    dispatcher,
    networkPolicyStep({
      id,
      owner,
      cluster,
      engine: () => Promise.resolve('unknown'),
      clock,
      probe: async () => {
        const existing = await requireExisting(project)
        const {dispatcher: image} = await existingImages(project, existing)
        const traits = await existingTraits(await cluster(), existing, project.signal)
        return {projectId: id, traits, image, ...(await accountOf(project))}
      },
    }),
    repository,
    selfCheckStep({id, clock, cluster}),
  ]
}

export async function existingBaseView(project: ProjectContext): Promise<BaseView> {
  const {openings, publicPorts} = openingsOf(project.settings)
  const {resolver} = project.settings.network
  const existing = await requireExisting(project)
  return {
    projectId: project.id,
    traits: await existingTraits(await project.cluster(), existing, project.signal),
    ownCluster: false,
    upstreams: upstreamWays(project.settings, await resolvers(project)),
    ...(resolver.length > 0 ? {} : {resolverPods: (await existingDns(project)).pods}),
    ...(await accountOf(project)),
    openings: [
      ...resolver.flatMap((address) =>
        (['UDP', 'TCP'] as const).map((protocol) => ({address, protocol, port: 53})),
      ),
      ...openings.map(({address, port}) => ({address, protocol: 'TCP' as const, port})),
    ],
    publicPorts,
  }
}

/** A task's pod as `task new` would make it, for the cluster to judge and not to start. */
async function sampleTaskPod(project: ProjectContext) {
  const {id, settings, files} = project
  const {task} = settings
  const existing = await requireExisting(project)
  return taskPod({
    projectId: id,
    task: 'cage-admission-check',
    branch: 'main',
    base: 'main',
    agent: 'shell',
    traits: await existingTraits(await project.cluster(), existing, project.signal),
    images: await existingImages(project, existing),
    revision: 1,
    project: settings.project,
    remote: '',
    existing: false,
    author: task.author,
    env: {},
    limits: {cpu: task.cpu, memoryBytes: task.memoryBytes},
    fenceAllow: [],
    probeClosed: [],
    grantKey: (await projectGrantKey(files)).publicKey,
  })
}
