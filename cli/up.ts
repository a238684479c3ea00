import {join} from 'node:path'
import {clusterNames} from '../core/layout.js'
import type {BaseView} from '../manifests/base-view.js'
import {baseObjects} from '../manifests/base.js'
import {dispatcherObjects} from '../manifests/dispatcher.js'
import {upstreamKind} from '../policy/upstream-kind.js'
import type {ProjectMachine} from '../provision/provisioning.js'
import type {Step} from '../provision/pipeline.js'
import {projectAuthority, dispatcherCertificate} from '../provision/state/authority.js'
import {projectGrantKey} from '../provision/state/grant-key.js'
import {baseObjectsStep} from '../provision/steps/base-objects.js'
import {dispatcherAddress, dispatcherStep} from '../provision/steps/dispatcher.js'
import {imagesStep} from '../provision/steps/images.js'
import {firewallStep, machineSteps} from '../provision/steps/machine.js'
import {networkPolicyStep} from '../provision/steps/network-policy.js'
import {clusterKinds} from '../provision/cluster/kinds.js'
import {closedAddresses, clusterTraits, projectImages, resolvers, volumesIn} from './cluster-facts.js'
import {existingBaseView, existingSteps} from './existing-steps.js'
import {machineWanted} from './machine-wanted.js'
import {openingsOf} from './openings.js'
import type {ProjectContext} from './project-context.js'
import {policyTrial} from './policy-trial.js'
import {repositoryStep} from './repository-step.js'
import {dispatcherControl} from './task-context.js'
import {fenceEntries, upstreamWays} from './upstream-ways.js'
import {selfCheckStep} from '../provision/steps/self-check.js'

const DISPATCHER_DISK = 20 * 1024 ** 3

/** `cage up` as a list: each step checks, acts, verifies; running it again is the repair. */
export function upSteps(project: ProjectContext): Step[] {
  if (project.settings.cluster.kind === 'existing')
    return existingSteps(project, dispatcherOf(project), repositoryStep(project))
  let asked: ReturnType<typeof machineWanted> | undefined
  const wanted = () => (asked ??= machineWanted(project))
  const open = async () => project.openMachine((await wanted()).wanted)
  const cluster = () => project.cluster()
  return [
    ...machineSteps(project.places, open, wanted),
    imagesAfter(project, open),
    baseObjectsStep(cluster, async () => baseObjects(await baseView(project))),
    dispatcherOf(project),
    firewallStep(open, async () => ({
      dispatcher: {address: await dispatcherAddress(await cluster(), project.id), port: 443},
      ...firewallOpenings(project),
    })),
    networkPolicyStep({
      ...policyTrial(project),
      engine: async () => (clusterKinds[(await open()).cluster.kind].networkPolicy ? 'promised' : 'none'),
    }),
    repositoryStep(project),
    selfCheckStep({
      id: project.id,
      clock: project.clock,
      cluster,
      machine: {
        transport: async () => (await open()).machine.transport,
        closed: () => closedAddresses(project),
      },
    }),
  ]
}

/** The dispatcher with its keys and its volume, on whatever cluster. */
function dispatcherOf(project: ProjectContext): Step {
  const cluster = () => project.cluster()
  return dispatcherStep({
    id: project.id,
    cluster,
    objects: async (current) => {
      const authority = await projectAuthority(project.files, project.clock.now())
      const ways = upstreamWays(project.settings, await resolvers(project))
      return dispatcherObjects({
        projectId: project.id,
        traits: await clusterTraits(project),
        image: (await projectImages(project)).dispatcher,
        grantKey: (await projectGrantKey(project.files)).publicKey,
        tls: dispatcherCertificate(authority, current, project.clock.now()),
        diskBytes: DISPATCHER_DISK,
        fenceAllow: fenceEntries(ways),
        fencePublic: ways.publicPorts,
      })
    },
    volume: async () => {
      const volumes = await volumesIn(project, clusterNames.dispatcherNamespace(project.id))
      await volumes.ensure(clusterNames.dispatcher, DISPATCHER_DISK)
    },
    answers: async () => (await dispatcherControl(project)).answers(),
  })
}

function firewallOpenings(project: ProjectContext) {
  const {openings, publicPorts} = openingsOf(project.settings)
  return {
    publicPorts: publicPorts.map((port) => ({protocol: 'tcp' as const, port})),
    openings: [
      ...openings.map(({address, port}) => ({address, protocol: 'tcp' as const, port})),
      ...project.settings.network.resolver.flatMap((address) =>
        (['udp', 'tcp'] as const).map((protocol) => ({address, protocol, port: 53})),
      ),
    ],
  }
}

export async function baseView(project: ProjectContext): Promise<BaseView> {
  if (project.settings.cluster.kind === 'existing') return existingBaseView(project)
  const {machine} = await project.machine()
  const {resolver} = await machine.facts()
  const {openings, publicPorts} = openingsOf(project.settings)
  return {
    projectId: project.id,
    traits: await clusterTraits(project),
    ownCluster: true,
    openings: [
      ...[resolver, ...project.settings.network.resolver].flatMap((address) =>
        (['UDP', 'TCP'] as const).map((protocol) => ({address, protocol, port: 53})),
      ),
      ...openings.map(({address, port}) => ({address, protocol: 'TCP' as const, port})),
    ],
    publicPorts,
    upstreams: upstreamWays(project.settings, await resolvers(project)),
  }
}

/** The images step needs the machine's architecture, which is known only once there is a machine. */
function imagesAfter(project: ProjectContext, open: () => Promise<ProjectMachine>): Step {
  let step: Promise<Step> | undefined
  const real = () =>
    (step ??= open().then(async ({machine}) =>
      imagesStep({
        root: project.places.packageRoot,
        cache: join(project.homes.cache, 'cage', 'images'),
        architecture: (await machine.facts()).architecture,
        upstream: upstreamKind(project.settings.repository.upstream),
        transport: machine.transport,
        runner: project.runner,
        clock: project.clock,
      }),
    ))
  return {
    name: 'images',
    deadlineMs: 30 * 60_000,
    hints: ['Run `cage doctor`, then `cage up` again.'],
    check: async (tools) => (await real()).check(tools),
    act: async (tools) => (await real()).act(tools),
  }
}
