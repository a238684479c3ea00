import type {KubeObject} from '../core/kube-object.js'
import {label} from '../core/layout.js'
import {dispatcherShape} from './dispatcher-shape.js'
import {invalid} from './objects.js'
import {
  named,
  seccomp,
  tolerations,
  type ClusterTraits,
  type ContainerShape,
  type PodShape,
  type VolumeShape,
} from './pod-shape.js'
import {taskShape} from './task-shape.js'

/**
 * What holds for a pod whatever text it was rendered from: checked on the finished object, so that a changed template
 * can add labels or comments but lose no part of the shape. The cluster checks the same by itself (pod-policy.ts).
 */
export function podProblems(
  shape: PodShape,
  traits: ClusterTraits,
  task: string,
  metadata: Fields,
  spec: Fields,
): string[] {
  const problems: string[] = []
  const demand = (holds: boolean, what: string) => {
    if (!holds) problems.push(what)
  }
  demand(
    shape.name === undefined || metadata['name'] === named(shape.name, task),
    'its name is not that of its task',
  )
  demand(fields(metadata['labels'])[label.component] === shape.component, 'its component label is another')
  demand(!('ephemeralContainers' in spec), 'it has ephemeral containers')
  onlyKnown(spec, podFields, 'pod', problems)
  demand(!traits.userNamespaces || spec['hostUsers'] === false, 'it shares the users of the node')
  demand(spec['automountServiceAccountToken'] === false, 'it mounts a service-account token')
  demand(spec['serviceAccountName'] === shape.serviceAccount, 'its service account is another')
  demand(spec['enableServiceLinks'] === false, 'it gets the environment of other services')
  demand(spec['shareProcessNamespace'] !== true, 'its containers share processes')
  demand(spec['priorityClassName'] === shape.priorityClass, 'its priority is another')
  demand(same(spec['tolerations'], tolerations), 'its tolerations are others')
  demand(spec['dnsPolicy'] === 'None', 'it uses a resolver of the cluster')
  demand(
    same(spec['dnsConfig'], {nameservers: shape.nameservers, options: [{name: 'ndots', value: '1'}]}),
    'its resolver is another',
  )
  demand(
    same(spec['securityContext'], {
      fsGroup: shape.fsGroup,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: seccomp(traits),
      ...(shape.sysctls.length > 0 ? {sysctls: shape.sysctls} : {}),
    }),
    'its security context is another',
  )
  checkContainers('initContainers', shape.init, list(spec['initContainers']), traits, problems)
  checkContainers('containers', shape.main, list(spec['containers']), traits, problems)
  checkVolumes(shape.volumes, list(spec['volumes']), task, problems)
  return problems
}

export function checkTaskPod(
  pod: KubeObject,
  expected: {projectId: string; task: string; traits: ClusterTraits},
): void {
  const {projectId, task, traits} = expected
  const problems = podProblems(taskShape, traits, task, pod.metadata, fields(pod['spec']))
  if (pod.metadata.namespace !== projectId) problems.push('its namespace is not that of its project')
  if (pod.metadata.labels?.[label.task] !== task) problems.push('its task label is another')
  if (problems.length > 0) throw invalid(`pod ${pod.metadata.name}`, problems.join('; '))
}

export function checkDispatcher(deployment: KubeObject, traits: ClusterTraits): void {
  const template = fields(fields(deployment['spec'])['template'])
  const problems = podProblems(
    dispatcherShape,
    traits,
    '',
    fields(template['metadata']),
    fields(template['spec']),
  )
  if (problems.length > 0) throw invalid(`deployment ${deployment.metadata.name}`, problems.join('; '))
}

type Fields = Readonly<Record<string, unknown>>

/** Fields that a pod of ours has; any other (hostNetwork, hostPID, runtimeClassName, resourceClaims …) is refused. */
const podFields = [
  'automountServiceAccountToken',
  'containers',
  'dnsConfig',
  'dnsPolicy',
  'enableServiceLinks',
  'hostname',
  'hostUsers',
  'initContainers',
  'priorityClassName',
  'restartPolicy',
  'securityContext',
  'serviceAccountName',
  'shareProcessNamespace',
  'terminationGracePeriodSeconds',
  'tolerations',
  'topologySpreadConstraints',
  'volumes',
]
const containerFields = [
  'command',
  'env',
  'image',
  'imagePullPolicy',
  'livenessProbe',
  'name',
  'readinessProbe',
  'resources',
  'restartPolicy',
  'securityContext',
  'startupProbe',
  'terminationMessagePolicy',
  'volumeMounts',
  'workingDir',
]

function checkContainers(
  where: string,
  shapes: readonly ContainerShape[],
  found: readonly Fields[],
  traits: ClusterTraits,
  problems: string[],
): void {
  const names = found.map(({name}) => name)
  if (
    !same(
      names,
      shapes.map(({name}) => name),
    )
  ) {
    problems.push(
      `${where} are ${names.join(', ') || 'none'}, not ${shapes.map(({name}) => name).join(', ')}`,
    )
    return
  }
  for (const [index, shape] of shapes.entries()) checkContainer(shape, found[index] ?? {}, traits, problems)
}

function checkContainer(
  shape: ContainerShape,
  found: Fields,
  traits: ClusterTraits,
  problems: string[],
): void {
  const demand = (holds: boolean, what: string) => {
    if (!holds) problems.push(`${shape.name}: ${what}`)
  }
  onlyKnown(found, containerFields, shape.name, problems)
  demand(isImage(traits.imagePrefix, shape.image, found['image']), 'its image is another')
  demand(same(found['command'], shape.command), 'its command is another')
  demand(found['restartPolicy'] === (shape.stays ? 'Always' : undefined), 'its restart policy is another')
  demand(
    same(found['securityContext'], {
      runAsUser: shape.uid,
      runAsGroup: shape.uid,
      runAsNonRoot: shape.uid !== 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: {drop: ['ALL'], ...(shape.add.length > 0 ? {add: shape.add} : {})},
    }),
    'its security context is another',
  )
  const limits = fields(fields(found['resources'])['limits'])
  demand('cpu' in limits && 'memory' in limits && 'ephemeral-storage' in limits, 'it has no limits')
  demand(
    list(found['env']).every((entry) => onlyKeys(entry, ['name', 'value'])),
    'its environment comes from elsewhere',
  )
  demand(
    same(
      list(found['volumeMounts']).map(({name, mountPath, readOnly, subPath, ...rest}) =>
        [name, mountPath, readOnly === true, subPath ?? '', ...Object.keys(rest)].join(' '),
      ),
      shape.mounts.map(({volume, path, readOnly, part}) =>
        [volume, path, readOnly === true, part ?? ''].join(' '),
      ),
    ),
    'its mounts are others',
  )
  demand(same(probePaths(found), shape.health ?? {}), 'its health probes are others')
}

/** Probes over HTTP on one port, by what they are for; anything else shows as another shape. */
function probePaths(found: Fields): Fields {
  const paths: Record<string, unknown> = {}
  for (const [name, probe] of [
    ['startup', found['startupProbe']],
    ['live', found['livenessProbe']],
    ['ready', found['readinessProbe']],
  ] as const) {
    if (probe === undefined) continue
    const get = fields(fields(probe)['httpGet'])
    paths[name] = onlyKeys(get, ['path', 'port']) ? get['path'] : 'unknown'
    paths['port'] = get['port']
    if ('exec' in fields(probe)) paths[name] = 'a command'
  }
  return paths
}

function checkVolumes(
  shapes: readonly VolumeShape[],
  found: readonly Fields[],
  task: string,
  problems: string[],
): void {
  const described = found.map((volume) => {
    const {name, persistentVolumeClaim: claim, secret, configMap, emptyDir, ...rest} = volume
    return [
      name,
      ...(claim === undefined ? [] : ['claim', fields(claim)['claimName']]),
      ...(secret === undefined ? [] : ['secret', fields(secret)['secretName']]),
      ...(configMap === undefined ? [] : ['configMap', fields(configMap)['name']]),
      ...(emptyDir === undefined ? [] : [fields(emptyDir)['medium'], 'sizeLimit' in fields(emptyDir)]),
      ...Object.keys(rest),
    ].join(' ')
  })
  const expected = shapes.map((volume) => {
    if ('claim' in volume) return `${volume.name} claim ${named(volume.claim, task)}`
    if ('secret' in volume) return `${volume.name} secret ${named(volume.secret, task)}`
    if ('configMap' in volume) return `${volume.name} configMap ${named(volume.configMap, task)}`
    return `${volume.name} Memory true`
  })
  if (!same(described, expected))
    problems.push(`its volumes are ${described.join(', ')}, not ${expected.join(', ')}`)
}

/** Tags are content hashes; a digest or another registry never fits. */
export const imageTag = '[a-z0-9][a-z0-9._-]{0,127}'

function isImage(prefix: string, name: string, image: unknown): boolean {
  const start = `${prefix}${name}:`
  return (
    typeof image === 'string' &&
    image.startsWith(start) &&
    new RegExp(`^${imageTag}$`).test(image.slice(start.length))
  )
}

function onlyKnown(found: Fields, known: readonly string[], where: string, problems: string[]): void {
  for (const name of Object.keys(found))
    if (!known.includes(name)) problems.push(`${where}: ${name} is not ours to set`)
}

function onlyKeys(found: Fields, known: readonly string[]): boolean {
  return Object.keys(found).every((name) => known.includes(name))
}

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}
}

function list(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.map(fields) : []
}

/** Equal as data, whatever the order of an object's fields. */
function same(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b)
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null)
    return value === undefined ? 'undefined' : JSON.stringify(value)
  return `{${Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, entry]) => `${name}:${canonical(entry)}`)
    .join()}}`
}
