import {compileGrant, taskCredentials} from '../policy/compile.js'
import {newPlaceholder, resolveCredentials} from '../policy/credentials.js'
import {newHandle, signGrant} from '../policy/sign.js'
import {fingerprintsOf} from '../scan/exact.js'
import {projectAuthority} from '../provision/state/authority.js'
import {projectGrantKey} from '../provision/state/grant-key.js'
import {dispatcherAddress} from '../provision/steps/dispatcher.js'
import {adapterOf} from '../tasks/adapters/known.js'
import type {GrantRequest, PreparedGrant, TaskBlueprint, TaskProject} from '../tasks/blueprint.js'
import {closedAddresses, clusterTraits, projectImages, requireImages, resolvers} from './cluster-facts.js'
import {credentialPorts} from './credential-ports.js'
import {originUrl, repositoryAtDispatcher} from './hosted-repository.js'
import {taskOpenings} from './openings.js'
import type {ProjectContext} from './project-context.js'
import {requireTrust} from './approval.js'
import {dispatcherControl, forkOf} from './task-context.js'
import {upstreamValues} from './upstreams.js'
import {requireSupported} from './supported.js'
import {taskFiles} from './task-files.js'

const DISPATCHER_PORT = 443

/** The project as the task room asks for it: cage.yaml, state directory and machine put together. */
export function taskProject(project: ProjectContext): TaskProject {
  let values: Promise<Record<string, string>> | undefined
  const credentials = (agent: string) => (values ??= credentialValues(project, agent))
  let found: Promise<string | undefined> | undefined
  const fork = () => (found ??= dispatcherControl(project).then((control) => forkOf(project, control)))
  return {
    blueprint: async () => {
      requireSupported(project.settings)
      await requireTrust(project)
      return blueprint(project, await fork())
    },
    resolveCredentials: async (agent) => {
      await credentials(agent)
    },
    prepareGrant: async (request) =>
      prepareGrant(project, {...request, fork: await fork()}, await credentials(request.agent)),
  }
}

function credentialValues(project: ProjectContext, agent: string): Promise<Record<string, string>> {
  return resolveCredentials(taskCredentials(project.settings, adapterOf(agent)), credentialPorts(project))
}

async function blueprint(project: ProjectContext, fork: string | undefined): Promise<TaskBlueprint> {
  const {settings, id, runner, repository} = project
  const {task} = settings
  const cluster = await project.cluster()
  const [address, resolver, traits, images, closed, key, files] = await Promise.all([
    dispatcherAddress(cluster, id),
    resolvers(project),
    clusterTraits(project),
    taskImages(project),
    closedAddresses(project),
    projectGrantKey(project.files),
    taskFiles(runner, repository.directory, task.files),
  ])
  return {
    project: settings.project,
    remote: originUrl(settings),
    ...(fork === undefined ? {} : {fork}),
    repository: repositoryAtDispatcher(settings, fork),
    traits,
    images,
    author: task.author,
    env: task.env,
    limits: {cpu: task.cpu, memoryBytes: task.memoryBytes},
    diskBytes: task.diskBytes,
    fenceAllow: [
      `${address}/tcp/${DISPATCHER_PORT}`,
      ...resolver.flatMap((one) => [`${one}/udp/53`, `${one}/tcp/53`]),
      ...taskOpenings(settings).map((opening) => `${opening.address}/tcp/${opening.port}`),
    ],
    probeClosed: [`${address}:${DISPATCHER_PORT}`, ...closed],
    grantKey: key.publicKey,
    ...(task.setup === undefined ? {} : {setup: task.setup}),
    ...(files === undefined ? {} : {files}),
  }
}

async function taskImages(project: ProjectContext): Promise<TaskBlueprint['images']> {
  const {agent, proxy} = await projectImages(project)
  await requireImages(project, [agent, proxy])
  return {agent, proxy}
}

/** Compiles and signs one revision. A placeholder that programs may have stored stays the same over revisions. */
async function prepareGrant(
  project: ProjectContext,
  request: GrantRequest & {fork: string | undefined},
  values: Readonly<Record<string, string>>,
): Promise<PreparedGrant> {
  const {settings, id, files, clock} = project
  const {task, branch, base, revision, fork} = request
  const agent = adapterOf(request.agent)
  const placeholders = Object.fromEntries(
    taskCredentials(settings, agent).map((credential) => [
      credential.name,
      request.placeholders[credential.name] ?? newPlaceholder(credential),
    ]),
  )
  const [address, resolver, authority, {privateKey}, held] = await Promise.all([
    dispatcherAddress(await project.cluster(), id),
    resolvers(project),
    projectAuthority(files, clock.now()),
    projectGrantKey(files),
    upstreamValues(project),
  ])
  const dispatcher = {address, port: DISPATCHER_PORT, ca: authority.certificate}
  const compiled = compileGrant({
    settings,
    agent,
    id,
    task,
    branch,
    base,
    revision,
    dispatcher,
    resolver,
    placeholders,
    issued: fingerprintsOf(held),
    ...(fork === undefined ? {} : {fork}),
  })
  const handle = newHandle()
  const {egress, git, env} = compiled
  const parts = signGrant({project: id, task, revision, handle, egress, git}, privateKey)
  const issued = fingerprintsOf([
    ...Object.entries(values).map(([name, value]) => ({id: name, value})),
    {id: 'handle', value: handle},
  ])
  return {...parts, handle, issued, credentials: values, placeholders, env: {...agent.env, ...env}}
}
