import {label} from '../core/layout.js'
import {imageTag} from './pod-invariants.js'
import type {ClusterTraits, ContainerShape, PodShape, VolumeShape} from './pod-shape.js'

/** One condition of a ValidatingAdmissionPolicy. */
export interface Validation {
  expression: string
  message: string
}

/** CEL over a pod: the shape, nothing more and nothing less. */
export function podValidations(shape: PodShape, traits: ClusterTraits): Validation[] {
  const perTask = shape.name !== undefined
  return [
    // A debug container would run beside the sidecar under any user.
    {
      expression: "!has(request.subResource) || request.subResource == ''",
      message: 'no ephemeral containers and no resizing',
    },
    {
      expression: `has(object.metadata.labels) && ${mapIs('object.metadata.labels', label.component, text(shape.component))}`,
      message: 'the component label is another',
    },
    ...(perTask
      ? [
          {
            expression: `'${label.task}' in object.metadata.labels && object.metadata.name == ${pattern(shape.name ?? '')}`,
            message: 'the name is not that of the task',
          },
        ]
      : []),
    {
      expression:
        'oldObject == null || (has(oldObject.metadata.labels) && object.metadata.labels == oldObject.metadata.labels)',
      message: 'labels of a pod do not change',
    },
    {
      expression:
        'oldObject == null || object.spec.containers.all(c, oldObject.spec.containers.exists(o, o.name == c.name && o.image == c.image))',
      message: 'images of a pod do not change',
    },
    ...(shape.init.length > 0
      ? [
          {
            expression:
              'oldObject == null || (has(oldObject.spec.initContainers) && variables.init.all(c, oldObject.spec.initContainers.exists(o, o.name == c.name && o.image == c.image)))',
            message: 'images of a pod do not change',
          },
        ]
      : []),
    ...podLevel(shape, traits),
    {
      expression: `variables.init.map(c, c.name) == ${words(shape.init.map(({name}) => name))}`,
      message: `init containers are not ${shape.init.map(({name}) => name).join(', ') || 'none'}`,
    },
    {
      expression: `object.spec.containers.map(c, c.name) == ${words(shape.main.map(({name}) => name))}`,
      message: `containers are not ${shape.main.map(({name}) => name).join(', ')}`,
    },
    ...['variables.init', 'object.spec.containers'].map((list) => ({
      expression: `${list}.all(c, ${everyContainer.join(' && ')})`,
      message: 'a container has more than a container of this pod may have',
    })),
    ...[...shape.init.map(at('variables.init')), ...shape.main.map(at('object.spec.containers'))].flatMap(
      ([container, where]) => containerLevel(container, where, traits),
    ),
    {
      expression: `has(object.spec.volumes) && object.spec.volumes.size() == ${shape.volumes.length} && ${shape.volumes
        .map((volume, index) => volumeIs(volume, `object.spec.volumes[${index}]`))
        .join(' && ')}`,
      message: `volumes are not ${shape.volumes.map(({name}) => name).join(', ')}`,
    },
  ]
}

export const podVariables = [
  {name: 'init', expression: 'has(object.spec.initContainers) ? object.spec.initContainers : []'},
  {
    name: 'task',
    expression: `has(object.metadata.labels) && '${label.task}' in object.metadata.labels ? object.metadata.labels['${label.task}'] : ''`,
  },
]

/** No field that gives a container more than its own line says. */
const everyContainer = [
  'has(c.securityContext)',
  '(!has(c.securityContext.privileged) || !c.securityContext.privileged)',
  'has(c.securityContext.allowPrivilegeEscalation)',
  '!c.securityContext.allowPrivilegeEscalation',
  'has(c.securityContext.readOnlyRootFilesystem)',
  'c.securityContext.readOnlyRootFilesystem',
  "(!has(c.securityContext.procMount) || c.securityContext.procMount == 'Default')",
  ...['seccompProfile', 'appArmorProfile', 'seLinuxOptions', 'windowsOptions'].map(
    (field) => `!has(c.securityContext.${field})`,
  ),
  'has(c.securityContext.capabilities)',
  'has(c.securityContext.capabilities.drop)',
  "c.securityContext.capabilities.drop == ['ALL']",
  ...['args', 'envFrom', 'lifecycle', 'ports', 'volumeDevices'].map((field) => `!has(c.${field})`),
  '(!has(c.env) || c.env.all(e, !has(e.valueFrom)))',
  // dyn: the type checker of the API server knows no quantities.
  'has(dyn(c.resources).limits)',
  ...['cpu', 'memory', 'ephemeral-storage'].map((name) => `'${name}' in dyn(c.resources).limits`),
  '!has(c.resources.claims)',
  '(!has(c.volumeMounts) || c.volumeMounts.all(m, !has(m.subPathExpr) && !has(m.mountPropagation)))',
]

function podLevel(shape: PodShape, traits: ClusterTraits): Validation[] {
  const spec = 'object.spec'
  const security = `${spec}.securityContext`
  const off = ['hostNetwork', 'hostPID', 'hostIPC', 'shareProcessNamespace', 'setHostnameAsFQDN']
  const absent = ['runtimeClassName', 'resourceClaims', 'hostAliases', 'ephemeralContainers', 'nodeName']
  const profile =
    traits.seccompProfile === undefined
      ? `${security}.seccompProfile.type == 'RuntimeDefault'`
      : `${security}.seccompProfile.type == 'Localhost' && ${security}.seccompProfile.localhostProfile == ${text(traits.seccompProfile)}`
  const overriding = [
    'runAsUser',
    'runAsGroup',
    'supplementalGroups',
    'seLinuxOptions',
    'appArmorProfile',
    'windowsOptions',
  ]
  const sysctls = `[${shape.sysctls.map(({name, value}) => text(`${name}=${value}`)).join(', ')}]`
  return [
    {
      expression: off.map((field) => `(!has(${spec}.${field}) || !${spec}.${field})`).join(' && '),
      message: 'the pod shares namespaces of the node or among its containers',
    },
    {
      // The scheduler sets nodeName by a binding, so only a new pod must be without.
      expression: absent
        .map((field) =>
          field === 'nodeName' ? `(oldObject != null || !has(${spec}.nodeName))` : `!has(${spec}.${field})`,
        )
        .join(' && '),
      message: 'the pod has a field that pods of this kind have no use for',
    },
    ...(traits.userNamespaces
      ? [
          {
            expression: `has(${spec}.hostUsers) && !${spec}.hostUsers`,
            message: 'the pod shares the users of the node',
          },
        ]
      : []),
    {
      expression: `has(${spec}.automountServiceAccountToken) && !${spec}.automountServiceAccountToken && ${spec}.serviceAccountName == ${text(shape.serviceAccount)}`,
      message: 'the pod holds a credential of the cluster',
    },
    {
      expression: `has(${spec}.enableServiceLinks) && !${spec}.enableServiceLinks && ${spec}.priorityClassName == ${text(shape.priorityClass)}`,
      message: 'service links or priority are others',
    },
    {
      expression: `${spec}.dnsPolicy == 'None' && has(${spec}.dnsConfig) && has(${spec}.dnsConfig.nameservers) && ${spec}.dnsConfig.nameservers == ${words(shape.nameservers)} && !has(${spec}.dnsConfig.searches)`,
      message: 'the resolver is another',
    },
    {
      expression: `has(${spec}.securityContext) && has(${security}.seccompProfile) && ${profile}`,
      message: 'the seccomp profile is another',
    },
    {
      expression: [
        `has(${security}.fsGroup)`,
        `${security}.fsGroup == ${shape.fsGroup}`,
        ...overriding.map((field) => `!has(${security}.${field})`),
        `(has(${security}.sysctls) ? ${security}.sysctls.map(s, s.name + '=' + s.value) : []) == ${sysctls}`,
      ].join(' && '),
      message: 'the security context of the pod is another',
    },
  ]
}

function containerLevel(shape: ContainerShape, where: string, traits: ClusterTraits): Validation[] {
  const security = `${where}.securityContext`
  const mounts = shape.mounts.map(
    ({volume, path, readOnly, part}) => `${volume}:${path}:${readOnly ? 'ro' : 'rw'}:${part ?? ''}`,
  )
  const mountText = `m.name + ':' + m.mountPath + ':' + (has(m.readOnly) && m.readOnly ? 'ro' : 'rw') + ':' + (has(m.subPath) ? m.subPath : '')`
  const image = `^${escaped(`${traits.imagePrefix}${shape.image}:`)}${imageTag}$`
  return [
    {
      expression: `${where}.image.matches(${text(image)}) && has(${where}.command) && ${where}.command == ${words(shape.command)}`,
      message: `${shape.name}: image or command is another`,
    },
    {
      expression: [
        `has(${security}.runAsUser) && ${security}.runAsUser == ${shape.uid}`,
        `has(${security}.runAsGroup) && ${security}.runAsGroup == ${shape.uid}`,
        shape.uid === 0 ? 'true' : `has(${security}.runAsNonRoot) && ${security}.runAsNonRoot`,
        shape.add.length === 0
          ? `!has(${security}.capabilities.add)`
          : `has(${security}.capabilities.add) && ${security}.capabilities.add == ${words(shape.add)}`,
      ].join(' && '),
      message: `${shape.name}: user or capabilities are others`,
    },
    {
      expression: `(has(${where}.volumeMounts) ? ${where}.volumeMounts.map(m, ${mountText}) : []) == ${words(mounts)}`,
      message: `${shape.name}: mounts are others`,
    },
    {
      expression: [
        shape.stays
          ? `has(${where}.restartPolicy) && ${where}.restartPolicy == 'Always'`
          : `!has(${where}.restartPolicy)`,
        probeIs(`${where}.startupProbe`, shape.health?.startup, shape.health?.port),
        probeIs(`${where}.livenessProbe`, shape.health?.live, shape.health?.port),
        probeIs(`${where}.readinessProbe`, shape.health?.ready, shape.health?.port),
      ].join(' && '),
      message: `${shape.name}: restart policy or health probes are others`,
    },
  ]
}

/** A probe asks this port and path of the pod itself, or is not there; a command would run in the container. */
function probeIs(probe: string, path: string | undefined, port: number | undefined): string {
  if (path === undefined || port === undefined) return `!has(${probe})`
  const get = `${probe}.httpGet`
  return `has(${probe}) && has(${get}) && ${get}.path == ${text(path)} && ${get}.port == ${port} && !has(${get}.host)`
}

function volumeIs(volume: VolumeShape, where: string): string {
  const name = `${where}.name == ${text(volume.name)}`
  if ('claim' in volume) {
    const claim = `${where}.persistentVolumeClaim`
    return `${name} && has(${claim}) && ${claim}.claimName == ${pattern(volume.claim)}`
  }
  if ('secret' in volume) {
    return `${name} && has(${where}.secret) && ${where}.secret.secretName == ${pattern(volume.secret)}`
  }
  if ('configMap' in volume) {
    return `${name} && has(${where}.configMap) && ${where}.configMap.name == ${pattern(volume.configMap)}`
  }
  const empty = `${where}.emptyDir`
  return `${name} && has(${empty}) && has(${empty}.medium) && ${empty}.medium == 'Memory' && has(dyn(${empty}).sizeLimit)`
}

function at(where: string): (shape: ContainerShape, index: number) => [ContainerShape, string] {
  return (shape, index) => [shape, `${where}[${index}]`]
}

function mapIs(map: string, name: string, value: string): string {
  return `'${name}' in ${map} && ${map}['${name}'] == ${value}`
}

/** `home-{task}` as CEL */
function pattern(name: string): string {
  const [before = '', after] = name.split('{task}')
  if (after === undefined) return text(name)
  return `${text(before)} + variables.task${after === '' ? '' : ` + ${text(after)}`}`
}

function words(list: readonly string[]): string {
  return `[${list.map(text).join(', ')}]`
}

/** A CEL string; JSON's escapes are CEL's. */
function text(value: string): string {
  return JSON.stringify(value)
}

function escaped(value: string): string {
  return value.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
