import type {KubeObject} from '../../core/kube-object.js'

/** A pod as the mutations see it: loose on purpose. */
export interface LoosePod extends KubeObject {
  spec: {
    initContainers: LooseContainer[]
    containers: LooseContainer[]
    volumes: Record<string, unknown>[]
  } & Record<string, unknown>
}
export interface LooseContainer {
  name: string
  image: string
  command: string[]
  env: Record<string, unknown>[]
  resources: {limits: Record<string, string>; requests: Record<string, string>}
  securityContext: Record<string, unknown>
  volumeMounts: Record<string, unknown>[]
  [field: string]: unknown
}

export interface Mutation {
  name: string
  /** a pod of that shape is refused, by the invariants before it is sent and by the cluster's policy */
  mutate: (pod: LoosePod) => void
}

const FENCE = 0
const SIDECAR = 1
const PROBE = 2
const CLONE = 3

function init(index: number, change: (container: LooseContainer) => void): Mutation['mutate'] {
  return (pod) => change(pod.spec.initContainers[index]!)
}
function agent(change: (container: LooseContainer) => void): Mutation['mutate'] {
  return (pod) => change(pod.spec.containers[0]!)
}
function spec(fields: Record<string, unknown>): Mutation['mutate'] {
  return (pod) => void Object.assign(pod.spec, fields)
}
function security(fields: Record<string, unknown>): (container: LooseContainer) => void {
  return (container) => void Object.assign(container.securityContext, fields)
}
function volume(change: Record<string, unknown>): Mutation['mutate'] {
  return (pod) => void pod.spec.volumes.push(change)
}

/** Every way to be a little more than a task. */
export const podMutations: readonly Mutation[] = [
  {name: 'agent privileged', mutate: agent(security({privileged: true, allowPrivilegeEscalation: true}))},
  {
    name: 'fence privileged',
    mutate: init(FENCE, security({privileged: true, allowPrivilegeEscalation: true})),
  },
  {name: 'agent may gain privileges', mutate: agent(security({allowPrivilegeEscalation: true}))},
  {name: 'agent as root', mutate: agent(security({runAsUser: 0, runAsNonRoot: false}))},
  {name: 'agent as the sidecar', mutate: agent(security({runAsUser: 64000}))},
  {name: 'agent in the sidecar group', mutate: agent(security({runAsGroup: 64000}))},
  {name: 'agent may be root', mutate: agent(security({runAsNonRoot: false}))},
  {name: 'clone as the sidecar', mutate: init(CLONE, security({runAsUser: 64000}))},
  {name: 'probe as root', mutate: init(PROBE, security({runAsUser: 0, runAsNonRoot: false}))},
  {
    name: 'agent with NET_ADMIN',
    mutate: agent(security({capabilities: {drop: ['ALL'], add: ['NET_ADMIN']}})),
  },
  {name: 'agent keeps default capabilities', mutate: agent(security({capabilities: {}}))},
  {
    name: 'fence with SYS_ADMIN',
    mutate: init(FENCE, security({capabilities: {drop: ['ALL'], add: ['NET_ADMIN', 'SYS_PTRACE']}})),
  },
  {
    name: 'sidecar with SETUID',
    mutate: init(SIDECAR, security({capabilities: {drop: ['ALL'], add: ['SETUID']}})),
  },
  {
    name: 'agent without a security context',
    mutate: agent((container) => void Reflect.deleteProperty(container, 'securityContext')),
  },
  {name: 'agent with a writable root', mutate: agent(security({readOnlyRootFilesystem: false}))},
  {name: 'agent without seccomp', mutate: agent(security({seccompProfile: {type: 'Unconfined'}}))},
  {name: 'agent without AppArmor', mutate: agent(security({appArmorProfile: {type: 'Unconfined'}}))},
  {name: 'agent with SELinux options', mutate: agent(security({seLinuxOptions: {type: 'spc_t'}}))},
  {
    name: 'pod without seccomp',
    mutate: (pod) =>
      void Object.assign(pod.spec['securityContext'] as object, {seccompProfile: {type: 'Unconfined'}}),
  },
  {
    name: 'pod with another seccomp profile',
    mutate: (pod) =>
      void Object.assign(pod.spec['securityContext'] as object, {
        seccompProfile: {type: 'Localhost', localhostProfile: 'open.json'},
      }),
  },
  {
    name: 'pod without sysctls',
    mutate: (pod) => void Reflect.deleteProperty(pod.spec['securityContext'] as object, 'sysctls'),
  },
  {
    name: 'pod with another group for volumes',
    mutate: (pod) => void Object.assign(pod.spec['securityContext'] as object, {fsGroup: 0}),
  },
  {
    name: 'pod with supplemental groups',
    mutate: (pod) => void Object.assign(pod.spec['securityContext'] as object, {supplementalGroups: [0]}),
  },
  {
    name: 'host network',
    // The API refuses it beside network sysctls by itself.
    mutate: (pod) => {
      pod.spec['hostNetwork'] = true
      Reflect.deleteProperty(pod.spec['securityContext'] as object, 'sysctls')
    },
  },
  {name: 'host processes', mutate: spec({hostPID: true})},
  {name: 'host IPC', mutate: spec({hostIPC: true})},
  {name: 'shared processes', mutate: spec({shareProcessNamespace: true})},
  {name: 'service-account token', mutate: spec({automountServiceAccountToken: true})},
  {
    name: 'token by default',
    mutate: (pod) => void Reflect.deleteProperty(pod.spec, 'automountServiceAccountToken'),
  },
  {name: 'another service account', mutate: spec({serviceAccountName: 'default'})},
  {name: 'service links', mutate: spec({enableServiceLinks: true})},
  {name: 'resolver of the cluster', mutate: spec({dnsPolicy: 'ClusterFirst'})},
  {name: 'another resolver', mutate: spec({dnsConfig: {nameservers: ['8.8.8.8']}})},
  {
    name: 'search domains',
    mutate: spec({dnsConfig: {nameservers: ['127.0.0.1'], searches: ['evil.example']}}),
  },
  {
    name: 'names in the hosts file',
    mutate: spec({hostAliases: [{ip: '1.2.3.4', hostnames: ['git.cage.internal']}]}),
  },
  {name: 'another priority', mutate: spec({priorityClassName: 'system-node-critical'})},
  {name: 'chosen node', mutate: spec({nodeName: 'other'})},
  {name: 'no fence', mutate: (pod) => void pod.spec.initContainers.shift()},
  {name: 'no probe', mutate: (pod) => void pod.spec.initContainers.splice(PROBE, 1)},
  {
    name: 'sidecar before the fence',
    mutate: (pod) =>
      void pod.spec.initContainers.splice(0, 2, ...pod.spec.initContainers.slice(0, 2).reverse()),
  },
  {
    name: 'probe before the fence',
    mutate: (pod) => void pod.spec.initContainers.unshift(...pod.spec.initContainers.splice(PROBE, 1)),
  },
  {
    name: 'sidecar that ends',
    mutate: init(SIDECAR, (container) => {
      for (const field of ['restartPolicy', 'livenessProbe', 'startupProbe'])
        Reflect.deleteProperty(container, field)
    }),
  },
  {
    name: 'fence that stays',
    mutate: init(FENCE, (container) => void (container['restartPolicy'] = 'Always')),
  },
  {
    name: 'one more container',
    mutate: (pod) => void pod.spec.containers.push({...pod.spec.containers[0]!, name: 'extra'}),
  },
  {
    name: 'one more init container',
    mutate: (pod) =>
      void pod.spec.initContainers.unshift({...pod.spec.initContainers[CLONE]!, name: 'first'}),
  },
  {
    name: 'image from elsewhere',
    mutate: agent((container) => void (container.image = 'evil.example/agent:1')),
  },
  {
    name: 'image by a name that only ends alike',
    mutate: agent((container) => void (container.image = 'evil.example/cage.local/agent:1')),
  },
  {
    name: 'image that only begins alike',
    mutate: agent((container) => void (container.image = 'cage.local/agent:1@sha256:' + '0'.repeat(64))),
  },
  {
    name: 'fence from the agent image',
    mutate: (pod) => void (pod.spec.initContainers[FENCE]!.image = pod.spec.containers[0]!.image),
  },
  {name: 'fence does nothing', mutate: init(FENCE, (container) => void (container.command = ['/bin/true']))},
  {name: 'fence with arguments', mutate: init(FENCE, (container) => void (container['args'] = ['-n']))},
  {name: 'probe does nothing', mutate: init(PROBE, (container) => void (container.command = ['/bin/true']))},
  {
    name: 'agent starts something else',
    mutate: agent((container) => void (container.command = ['sleep', 'infinity'])),
  },
  {
    name: 'agent with a start hook',
    mutate: agent((container) => void (container['lifecycle'] = {postStart: {exec: {command: ['true']}}})),
  },
  {
    name: 'agent with a probe',
    mutate: agent((container) => void (container['readinessProbe'] = {exec: {command: ['true']}})),
  },
  {
    name: 'sidecar whose health is a command',
    mutate: init(SIDECAR, (container) => void (container['livenessProbe'] = {exec: {command: ['true']}})),
  },
  {
    name: 'sidecar whose health is asked elsewhere',
    mutate: init(
      SIDECAR,
      (container) =>
        void (container['livenessProbe'] = {httpGet: {path: '/livez', port: 15090, host: '169.254.169.254'}}),
    ),
  },
  {
    name: 'agent with a host port',
    mutate: agent((container) => void (container['ports'] = [{containerPort: 80, hostPort: 80}])),
  },
  {
    name: 'agent without limits',
    mutate: agent((container) => void (container.resources = {requests: {}, limits: {}})),
  },
  {
    name: 'agent reads the grant by environment',
    mutate: agent(
      (container) =>
        void container.env.push({
          name: 'X',
          valueFrom: {secretKeyRef: {name: 'grant-fix-login-0a1b2c', key: 'handle'}},
        }),
    ),
  },
  {
    name: 'agent reads a whole secret',
    mutate: agent(
      (container) => void (container['envFrom'] = [{secretRef: {name: 'grant-fix-login-0a1b2c'}}]),
    ),
  },
  {
    name: 'agent mounts the grant',
    mutate: agent((container) => void container.volumeMounts.push({name: 'grant', mountPath: '/grant'})),
  },
  {
    name: 'agent mounts the state',
    mutate: agent((container) => void container.volumeMounts.push({name: 'state', mountPath: '/state'})),
  },
  {
    name: 'agent mounts the ledger',
    mutate: agent((container) => void container.volumeMounts.push({name: 'ledger', mountPath: '/ledger'})),
  },
  {
    name: 'clone mounts the grant',
    mutate: init(
      CLONE,
      (container) => void container.volumeMounts.push({name: 'grant', mountPath: '/grant'}),
    ),
  },
  {
    name: 'agent writes the trust store',
    mutate: agent((container) => {
      for (const mount of container.volumeMounts) if (mount['name'] === 'trust') mount['readOnly'] = false
    }),
  },
  {
    name: 'part of a volume',
    mutate: agent((container) => void (container.volumeMounts[0]!['subPath'] = 'x')),
  },
  {name: 'host path', mutate: volume({name: 'host', hostPath: {path: '/'}})},
  {
    name: 'host path instead of the home',
    mutate: (pod) => void (pod.spec.volumes[0] = {name: 'home', hostPath: {path: '/'}}),
  },
  {
    name: 'home of another task',
    mutate: (pod) =>
      void (pod.spec.volumes[0] = {name: 'home', persistentVolumeClaim: {claimName: 'home-other'}}),
  },
  {
    name: 'grant of another task',
    mutate: (pod) => {
      for (const each of pod.spec.volumes)
        if (each['name'] === 'grant') each['secret'] = {secretName: 'grant-other'}
    },
  },
  {
    name: 'projected token',
    mutate: volume({name: 'token', projected: {sources: [{serviceAccountToken: {path: 'token'}}]}}),
  },
  {
    name: 'secret in place of the trust',
    mutate: (pod) => {
      for (const [index, each] of pod.spec.volumes.entries())
        if (each['name'] === 'trust') pod.spec.volumes[index] = {name: 'trust', secret: {secretName: 'x'}}
    },
  },
  {
    name: 'tmp on the disk of the node',
    mutate: (pod) => {
      for (const each of pod.spec.volumes) if (each['name'] === 'tmp') each['emptyDir'] = {}
    },
  },
  {
    name: 'memory without a size',
    mutate: (pod) => {
      for (const each of pod.spec.volumes) if (each['name'] === 'state') each['emptyDir'] = {medium: 'Memory'}
    },
  },
  {
    name: 'another component',
    mutate: (pod) => void (pod.metadata.labels!['cage.internal/component'] = 'dispatcher'),
  },
  {name: 'no labels', mutate: (pod) => void Reflect.deleteProperty(pod.metadata, 'labels')},
  {name: 'name of another task', mutate: (pod) => void (pod.metadata.name = 'task-other')},
]

/** Only where the runtime has user namespaces. */
export const userNamespaceMutations: readonly Mutation[] = [
  {name: 'users of the node', mutate: (pod) => void Reflect.deleteProperty(pod.spec, 'hostUsers')},
  {name: 'users of the node, said openly', mutate: spec({hostUsers: true})},
  {name: 'agent with unmasked proc', mutate: agent(security({procMount: 'Unmasked'}))},
]

export function mutated(pod: KubeObject, mutation: Mutation): KubeObject {
  const copy = structuredClone(pod) as LoosePod
  mutation.mutate(copy)
  return copy
}
