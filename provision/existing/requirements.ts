import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import type {Access, CallOptions, Cluster} from '../../kube/cluster.js'
import type {Check} from '../doctor.js'
import {clusterDns} from './cluster-dns.js'
import {namespacesOf} from './ownership.js'

/** The first version with native sidecars and ValidatingAdmissionPolicy in every installation. */
const MINIMUM_MINOR = 30

export interface Wanted {
  id: string
  /** absent = the cluster's default */
  storageClass?: string
  /** the operator names a resolver, so that the cluster's own is not needed */
  resolver: boolean
  /** of the images that this computer builds */
  architecture: string
}

/** What a cluster must offer, each thing with what was found. Changes nothing. Throws only when the cluster does not answer. */
export async function clusterChecks(
  cluster: Cluster,
  wanted: Wanted,
  options: CallOptions = {},
): Promise<Check[]> {
  await cluster.version(options)
  const checks = await Promise.all([
    versionCheck(cluster, options),
    nodeChecks(cluster, wanted, options),
    admissionCheck(cluster, options),
    podSecurityCheck(cluster, wanted, options),
    storageCheck(cluster, wanted, options),
    resolverCheck(cluster, wanted, options),
    permissionCheck(cluster, wanted, options),
  ])
  return checks.flat()
}

/** Throws CLUSTER_LACKS (exit 3) that names each missing thing. */
export function demandOfCluster(checks: readonly Check[]): void {
  const missing = checks.filter(({ok, required}) => required && !ok)
  if (missing.length === 0) return
  throw new CageError(
    [
      'this cluster and its registry lack what cage needs:',
      ...missing.map(({name, found}) => `  ${name}: ${found}`),
    ].join('\n'),
    {
      code: 'CLUSTER_LACKS',
      exitCode: ExitCode.precondition,
      hints: missing.flatMap(({fix}) => (fix === undefined ? [] : [fix])),
    },
  )
}

function check(name: string, ok: boolean, found: string, fix: string, required = true): Check {
  return {name, ok, found, ...(ok ? {} : {fix}), required}
}

async function versionCheck(cluster: Cluster, options: CallOptions): Promise<Check> {
  const {gitVersion, major, minor} = await cluster.version(options)
  const ok = major > 1 || (major === 1 && minor >= MINIMUM_MINOR)
  return check(
    'Kubernetes version',
    ok,
    gitVersion,
    `Use a cluster with Kubernetes 1.${MINIMUM_MINOR} or newer.`,
  )
}

async function nodeChecks(cluster: Cluster, {architecture}: Wanted, options: CallOptions): Promise<Check[]> {
  const nodes = await attempt(() => cluster.nodes(options))
  if (!Array.isArray(nodes))
    return [check('nodes', false, nodes.problem, 'Let the account of the kubeconfig list nodes.')]
  const ready = nodes.filter((node) => node.ready)
  const old = nodes.filter(({kubelet}) => Number(/^v1\.(\d+)/.exec(kubelet)?.[1] ?? 0) < MINIMUM_MINOR)
  const others = nodes.filter((node) => node.architecture !== architecture)
  const without = nodes.filter((node) => !node.userNamespaces)
  return [
    check('nodes', ready.length > 0, `${ready.length} of ${nodes.length} ready`, 'Repair or add a node.'),
    check(
      'native sidecars',
      old.length === 0,
      old.length === 0
        ? 'on every node'
        : `old kubelets: ${old.map(({name, kubelet}) => `${name} ${kubelet}`).join(', ')}`,
      `Upgrade those nodes to 1.${MINIMUM_MINOR} or newer.`,
    ),
    check(
      'processor of the nodes',
      others.length === 0,
      others.length === 0
        ? architecture
        : `not ${architecture}: ${others.map(({name, architecture: is}) => `${name} ${is}`).join(', ')}`,
      `Use a cluster whose nodes are all ${architecture}, as this computer, which builds the images.`,
    ),
    check(
      'user namespaces',
      nodes.length > 0 && without.length === 0,
      without.length === 0 ? 'on every node' : `not on ${without.map(({name}) => name).join(', ')}`,
      'Use a runtime and a kernel with user namespaces: an escape from a pod then lands on an unprivileged user.',
      false,
    ),
  ]
}

async function admissionCheck(cluster: Cluster, options: CallOptions): Promise<Check> {
  const apiVersion = 'admissionregistration.k8s.io/v1'
  const found = await attempt(() => cluster.list({apiVersion, kind: 'ValidatingAdmissionPolicy', ...options}))
  const ok = Array.isArray(found)
  const fix =
    'Use a cluster that serves ValidatingAdmissionPolicy in admissionregistration.k8s.io/v1 (Kubernetes 1.30).'
  return check('ValidatingAdmissionPolicy', ok, ok ? 'served' : found.problem, fix)
}

/** The fence needs NET_ADMIN for a moment, which only the level `privileged` lets through; the admission policy pins the rest. */
async function podSecurityCheck(cluster: Cluster, {id}: Wanted, options: CallOptions): Promise<Check> {
  const name = 'NET_ADMIN in an init container'
  const labels = {'pod-security.kubernetes.io/enforce': 'privileged'}
  const namespace = {apiVersion: 'v1', kind: 'Namespace', metadata: {name: id, labels}}
  const outcome = await attempt(() => cluster.create(namespace, {dryRun: true, ...options}))
  const ok = typeof outcome === 'string'
  const fix = `Let the namespace ${id} have the pod security level \`privileged\`: the fence needs NET_ADMIN for a moment, and cage pins the shape of every pod there.`
  return check(name, ok, ok ? 'pod security permits it' : outcome.problem, fix)
}

interface StorageClass extends KubeObject {
  provisioner?: string
}

const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class'

async function storageCheck(cluster: Cluster, {storageClass}: Wanted, options: CallOptions): Promise<Check> {
  const name = 'storage class'
  const found = await attempt(() =>
    cluster.list<StorageClass>({apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', ...options}),
  )
  if (!Array.isArray(found))
    return check(name, false, found.problem, 'Let the account of the kubeconfig list storage classes.')
  const names = found.map(({metadata}) => metadata.name).join(', ') || 'none'
  const chosen =
    storageClass === undefined
      ? found.find(({metadata}) => metadata.annotations?.[DEFAULT_CLASS] === 'true')
      : found.find(({metadata}) => metadata.name === storageClass)
  const missing =
    storageClass === undefined ? `no default among ${names}` : `no ${storageClass} among ${names}`
  return check(
    name,
    chosen !== undefined,
    chosen ? `${chosen.metadata.name} (${chosen.provisioner ?? ''})` : missing,
    'Name one in `cluster.storageClass` of your own config.yaml, or make one the default.',
  )
}

async function resolverCheck(cluster: Cluster, {resolver}: Wanted, options: CallOptions): Promise<Check> {
  const fix = 'Name a DNS server that pods reach in `network.resolver` of your own config.yaml.'
  if (resolver) return check('resolver', true, 'network.resolver', fix)
  const found = await attempt(() => clusterDns(cluster, options))
  const ok = found !== undefined && 'address' in found
  return check(
    'resolver',
    ok,
    ok ? found.address : (found?.problem ?? 'no service kube-dns in kube-system'),
    fix,
  )
}

/** Questions under way. */
const AT_ONCE = 16

const CHANGE = ['get', 'list', 'create', 'patch', 'delete'] as const
/** Group, resource, verbs. */
type Need = readonly [group: string, resource: string, verbs: readonly string[]]

const clusterWide: readonly Need[] = [
  ['', 'namespaces', ['get', 'list', 'watch', 'create', 'patch', 'delete']],
  ['', 'nodes', ['list']],
  ['admissionregistration.k8s.io', 'validatingadmissionpolicies', ['get', 'create', 'patch', 'delete']],
  ['admissionregistration.k8s.io', 'validatingadmissionpolicybindings', ['get', 'create', 'patch', 'delete']],
  ['scheduling.k8s.io', 'priorityclasses', ['get', 'create', 'delete']],
]
const perNamespace: readonly Need[] = [
  ['', 'pods', ['get', 'list', 'watch', 'create', 'delete']],
  ['', 'pods/exec', ['get', 'create']],
  ['', 'pods/log', ['get']],
  ['', 'configmaps', CHANGE],
  ['', 'secrets', CHANGE],
  ['', 'services', ['get', 'create', 'patch']],
  ['', 'serviceaccounts', ['get', 'create', 'patch']],
  ['', 'persistentvolumeclaims', [...CHANGE, 'watch']],
  ['', 'resourcequotas', ['get', 'create', 'patch']],
  ['apps', 'deployments', ['get', 'watch', 'create', 'patch']],
  ['networking.k8s.io', 'networkpolicies', ['get', 'create', 'patch', 'delete']],
]

async function permissionCheck(cluster: Cluster, {id}: Wanted, options: CallOptions): Promise<Check> {
  const questions: Access[] = [
    ...clusterWide.flatMap(asked(undefined)),
    ...namespacesOf(id).flatMap((namespace) => perNamespace.flatMap(asked(namespace))),
  ]
  const answers: Access[] = []
  for (let i = 0; i < questions.length; i += AT_ONCE) {
    const some = questions.slice(i, i + AT_ONCE)
    const may = await Promise.all(some.map((question) => cluster.may(question, options)))
    answers.push(...some.filter((_, index) => !may[index]))
  }
  const refused = new Map<string, Set<string>>()
  for (const {resource, group, verb} of answers) {
    const name = group === '' ? resource : `${resource}.${group}`
    refused.set(name, (refused.get(name) ?? new Set()).add(verb))
  }
  const list = [...refused].map(([name, verbs]) => `${[...verbs].join('/')} ${name}`).join(', ')
  return check(
    'permissions',
    refused.size === 0,
    refused.size === 0 ? `all ${questions.length} asked` : `not permitted: ${list}`,
    'Give the account of the kubeconfig the cluster role in docs/guide/teams.md.',
  )
}

function asked(namespace: string | undefined) {
  return ([group, resource, verbs]: Need): Access[] =>
    verbs.map((verb) => ({verb, group, resource, ...(namespace === undefined ? {} : {namespace})}))
}

/** What it answers, or why it did not; losing the cluster altogether is no answer. */
async function attempt<T>(ask: () => Promise<T>): Promise<T | {problem: string}> {
  try {
    return await ask()
  } catch (cause) {
    if (cause instanceof CageError && ABOUT_THE_QUESTION.has(cause.code)) return {problem: messageOf(cause)}
    throw cause
  }
}

const ABOUT_THE_QUESTION = new Set([
  'ADMISSION_DENIED',
  'CLUSTER_CONFLICT',
  'CLUSTER_FORBIDDEN',
  'CLUSTER_INVALID',
  'CLUSTER_NOT_FOUND',
])
