import {CageError, ExitCode} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import {agentPath, annotation, clusterNames, container, ghPlaceholder, label} from '../core/layout.js'
import {parseObjects} from './objects.js'
import {checkTaskPod} from './pod-invariants.js'
import {containerSpec, podSettings, volumeSpec, type Limits, type PodValues} from './pod-spec.js'
import {GiB, MiB} from './quantity.js'
import {taskShape} from './task-shape.js'
import type {TaskIdentity, TaskPodView} from './task-view.js'
import {Templates} from './templates.js'
import {trustVariables} from './trust.js'

/** The pod of a task, checked. Errors: ENV_RESERVED, SIZE_INVALID, TEMPLATE_INVALID, MANIFEST_INVALID. */
export function taskPod(view: TaskPodView, templates: Templates = new Templates()): KubeObject {
  const {traits, task} = view
  const values: PodValues = {
    images: view.images,
    env: environments(view),
    limits: limits(view),
    memory: {state: 64 * MiB, trust: 8 * MiB, tmp: temporaryBytes(view.limits.memoryBytes)},
    task,
    directories: {[container.agent]: `${agentPath.home}/${view.project}`},
  }
  const built = new Map(
    [...taskShape.init, ...taskShape.main].map((shape) => [shape.name, containerSpec(shape, values, traits)]),
  )
  const text = templates.render('task-pod.yaml', {
    ...podSettings(taskShape, traits),
    name: clusterNames.pod(task),
    hostname: task,
    namespace: clusterNames.taskNamespace(view.projectId),
    labels: taskLabels(view),
    annotations: {...taskAnnotations(view), [annotation.revision]: String(view.revision)},
    fence: built.get(container.fence),
    sidecar: built.get(container.sidecar),
    probe: built.get(container.probe),
    clone: built.get(container.clone),
    agent: built.get(container.agent),
    volumes: taskShape.volumes.map((volume) => volumeSpec(volume, values)),
  })
  const [pod] = parseObjects('task-pod.yaml', text, ['Pod'])
  if (!pod) throw new CageError('the template task-pod.yaml renders no pod', {code: 'MANIFEST_INVALID'})
  checkTaskPod(pod, {projectId: view.projectId, task, traits})
  return pod
}

export function taskLabels({
  projectId,
  task,
}: Pick<TaskIdentity, 'projectId' | 'task'>): Record<string, string> {
  return {[label.component]: taskShape.component, [label.project]: projectId, [label.task]: task}
}

export function taskAnnotations(identity: TaskIdentity): Record<string, string> {
  return {
    [annotation.agent]: identity.agent,
    [annotation.base]: identity.base,
    [annotation.branch]: identity.branch,
  }
}

/** What programs of the agent see, except the project's own. */
function ownEnvironment(view: TaskPodView): Record<string, string> {
  return {
    ...trustVariables,
    CAGE_AUTHOR_EMAIL: view.author.email,
    CAGE_AUTHOR_NAME: view.author.name,
    CAGE_BASE: view.base,
    CAGE_BRANCH: view.branch,
    CAGE_EXISTING: view.existing ? '1' : '0',
    CAGE_PROJECT: view.project,
    CAGE_REMOTE: view.remote,
    ...(view.fork === undefined ? {} : {CAGE_FORK: view.fork}),
    CAGE_TASK: view.task,
    GH_NO_UPDATE_NOTIFIER: '1',
    GH_PROMPT_DISABLED: '1',
    GH_TELEMETRY: 'disabled',
    GH_TOKEN: ghPlaceholder,
    HOME: agentPath.home,
  }
}

function environments(view: TaskPodView): PodValues['env'] {
  const own = ownEnvironment(view)
  const taken = Object.keys(view.env).filter((name) => name in own || name.startsWith('CAGE_'))
  if (taken.length > 0) {
    throw new CageError(
      `task.env may not set ${taken.sort().join(', ')}: cage sets ${taken.length > 1 ? 'them' : 'it'}`,
      {
        code: 'ENV_RESERVED',
        exitCode: ExitCode.usage,
        hints: ['Remove it from `task.env`, or take another name for the credential.'],
      },
    )
  }
  return {
    [container.fence]: {CAGE_FENCE_ALLOW: view.fenceAllow.join(' ')},
    [container.sidecar]: {
      CAGE_GRANT_KEY: view.grantKey,
      CAGE_PROJECT_ID: view.projectId,
      CAGE_TASK: view.task,
    },
    [container.probe]: {
      ...trustVariables,
      CAGE_PROBE_CLOSED: view.probeClosed.join(' '),
      HOME: '/nonexistent',
    },
    // Cloning is cage's own work: the project's variables have no part in it.
    [container.clone]: own,
    [container.agent]: {...own, ...view.env},
  }
}

function limits(view: TaskPodView): Record<string, Limits> {
  const small: Limits = {cpu: 1, memoryBytes: 256 * MiB, requestCpu: 0.005, requestMemoryBytes: 16 * MiB}
  const agent: Limits = {...view.limits, requestCpu: 0.01, requestMemoryBytes: 64 * MiB}
  return {
    [container.fence]: {...small, memoryBytes: 64 * MiB},
    [container.sidecar]: {...small, memoryBytes: 512 * MiB, requestMemoryBytes: 48 * MiB},
    [container.probe]: small,
    [container.clone]: agent,
    [container.agent]: agent,
  }
}

/** /tmp lies in memory and counts as the agent's: a quarter of it, at most 1 GiB. */
function temporaryBytes(memoryBytes: number): number {
  return Math.min(GiB, Math.floor(memoryBytes / 4 / MiB) * MiB || MiB)
}
