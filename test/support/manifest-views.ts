import type {BaseView} from '../../manifests/base-view.js'
import type {DispatcherView} from '../../manifests/dispatcher.js'
import type {ClusterTraits} from '../../manifests/pod-shape.js'
import type {TaskIdentity, TaskPodView} from '../../manifests/task-view.js'

const GiB = 1024 ** 3

/** A kubeadm machine of cage's own. */
export const ownCluster: ClusterTraits = {
  imagePrefix: 'cage.local/',
  pullPolicy: 'Never',
  userNamespaces: true,
  seccompProfile: 'cage.json',
  storageClass: 'cage',
}

/** A cluster that was there before: no user namespaces, images from a registry. */
export const foreignCluster: ClusterTraits = {
  imagePrefix: 'registry.example.com/cage/',
  pullPolicy: 'IfNotPresent',
  userNamespaces: false,
}

export const identity: TaskIdentity = {
  projectId: 'shop-1a2b3c4d',
  task: 'fix-login-0a1b2c',
  branch: 'fix/login',
  base: 'main',
  agent: 'shell',
}

export function taskPodView(changes: Partial<TaskPodView> = {}): TaskPodView {
  return {
    ...identity,
    traits: ownCluster,
    images: {agent: 'cage.local/agent:0123456789abcdef', proxy: 'cage.local/proxy:fedcba9876543210'},
    revision: 1,
    project: 'shop',
    remote: 'https://git.cage.internal/shop.git',
    existing: false,
    author: {name: 'cage', email: 'cage@shop.invalid'},
    env: {NODE_ENV: 'test', ANTHROPIC_AUTH_TOKEN: 'sk-ant-placeholder'},
    limits: {cpu: 2, memoryBytes: 4 * GiB},
    fenceAllow: ['10.248.0.77/tcp/443', '10.0.2.3/udp/53', '10.0.2.3/tcp/53'],
    probeClosed: ['10.248.0.77:443', '10.254.9.2:6443'],
    grantKey: 'MCowBQYDK2VwAyEA',
    ...changes,
  }
}

export function baseView(changes: Partial<BaseView> = {}): BaseView {
  return {
    projectId: identity.projectId,
    traits: ownCluster,
    ownCluster: true,
    openings: [
      {address: '10.0.2.3', protocol: 'UDP', port: 53},
      {address: '10.0.2.3', protocol: 'TCP', port: 53},
    ],
    publicPorts: [443, 80],
    upstreams: {openings: [], publicPorts: []},
    ...changes,
  }
}

export function dispatcherView(changes: Partial<DispatcherView> = {}): DispatcherView {
  return {
    projectId: identity.projectId,
    traits: ownCluster,
    image: 'cage.local/dispatcher:00112233',
    grantKey: 'MCowBQYDK2VwAyEA',
    tls: {certificate: 'CERTIFICATE', key: 'KEY'},
    diskBytes: 10 * GiB,
    fenceAllow: ['10.0.2.3/udp/53', '10.0.2.3/tcp/53', '10.1.2.3/tcp/3000'],
    fencePublic: [443],
    ...changes,
  }
}
