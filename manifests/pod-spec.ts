import {bytesQuantity, cpuQuantity, MiB} from './quantity.js'
import {
  named,
  seccomp,
  tolerations,
  type ClusterTraits,
  type ContainerShape,
  type PodShape,
  type VolumeShape,
} from './pod-shape.js'

/** What one container of a pod may use at most, and what the scheduler sets aside for it. */
export interface Limits {
  cpu: number
  memoryBytes: number
  /** set aside: small, so that many idle tasks fit on one machine */
  requestCpu: number
  requestMemoryBytes: number
}

/** The values of one pod that its shape leaves open. */
export interface PodValues {
  /** `cage.local/agent:<hash>` by image name; others are refused by the invariants */
  images: Readonly<Partial<Record<ContainerShape['image'], string>>>
  env: Readonly<Record<string, Readonly<Record<string, string>>>>
  limits: Readonly<Record<string, Limits>>
  /** bytes of the memory volumes by name */
  memory: Readonly<Record<string, number>>
  task: string
  /** where exec starts, by container; absent = the image's own */
  directories?: Readonly<Record<string, string>>
}

/** bytes of logs and of the writable layer that nothing writes; beyond, the pod is evicted */
const EPHEMERAL_BYTES = 256 * MiB

export function containerSpec(shape: ContainerShape, values: PodValues, traits: ClusterTraits): object {
  return {
    name: shape.name,
    image: values.images[shape.image],
    imagePullPolicy: traits.pullPolicy,
    ...(shape.stays ? {restartPolicy: 'Always'} : {}),
    command: shape.command.map(literal),
    // Why a container failed is read from the pod's status.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    ...(values.directories?.[shape.name] === undefined ? {} : {workingDir: values.directories[shape.name]}),
    env: Object.entries(values.env[shape.name] ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => ({name, value: literal(value)})),
    resources: resources(values.limits[shape.name]),
    securityContext: {
      runAsUser: shape.uid,
      runAsGroup: shape.uid,
      runAsNonRoot: shape.uid !== 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: {drop: ['ALL'], ...(shape.add.length > 0 ? {add: [...shape.add]} : {})},
    },
    ...(shape.health ? probes(shape.health) : {}),
    volumeMounts: shape.mounts.map(({volume, path, readOnly, part}) => ({
      name: volume,
      mountPath: path,
      ...(readOnly ? {readOnly} : {}),
      ...(part === undefined ? {} : {subPath: part}),
    })),
  }
}

export function volumeSpec(volume: VolumeShape, values: PodValues): object {
  const {name} = volume
  const {task} = values
  if ('claim' in volume) return {name, persistentVolumeClaim: {claimName: named(volume.claim, task)}}
  if ('secret' in volume) return {name, secret: {secretName: named(volume.secret, task), defaultMode: 0o440}}
  if ('configMap' in volume)
    return {name, configMap: {name: named(volume.configMap, task), defaultMode: 0o444}}
  return {name, emptyDir: {medium: 'Memory', sizeLimit: bytesQuantity(values.memory[name] ?? 0)}}
}

/** The pod's own settings; null = left out. */
export function podSettings(shape: PodShape, traits: ClusterTraits): Record<string, unknown> {
  return {
    hostUsers: traits.userNamespaces ? false : null,
    serviceAccount: shape.serviceAccount,
    priorityClass: shape.priorityClass,
    tolerations,
    dnsConfig: {nameservers: [...shape.nameservers], options: [{name: 'ndots', value: '1'}]},
    securityContext: {
      fsGroup: shape.fsGroup,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: seccomp(traits),
      ...(shape.sysctls.length > 0 ? {sysctls: shape.sysctls.map((sysctl) => ({...sysctl}))} : {}),
    },
  }
}

/** The kubelet expands `$(NAME)` in commands and environment; nothing of ours means that. */
function literal(text: string): string {
  return text.replaceAll('$', '$$$$')
}

function resources(limits: Limits | undefined): object {
  if (!limits) return {}
  return {
    requests: {
      cpu: cpuQuantity(limits.requestCpu),
      memory: bytesQuantity(limits.requestMemoryBytes),
      'ephemeral-storage': bytesQuantity(MiB),
    },
    limits: {
      cpu: cpuQuantity(limits.cpu),
      memory: bytesQuantity(limits.memoryBytes),
      'ephemeral-storage': bytesQuantity(EPHEMERAL_BYTES),
    },
  }
}

function probes(health: NonNullable<ContainerShape['health']>): object {
  const get = (path: string) => ({path, port: health.port})
  return {
    startupProbe: {httpGet: get(health.startup), periodSeconds: 1, failureThreshold: 60},
    // An event loop that stalls is restarted; the agent runs on behind the fence.
    livenessProbe: {httpGet: get(health.live), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3},
    ...(health.ready === undefined
      ? {}
      : {
          readinessProbe: {
            httpGet: get(health.ready),
            periodSeconds: 2,
            timeoutSeconds: 5,
            failureThreshold: 3,
          },
        }),
  }
}
