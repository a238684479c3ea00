import {CageError} from '../core/errors.js'
import type {ObjectRef} from './cluster.js'

/** Kinds that cage reads or writes: where they live in the API. A table costs no discovery request. */
const kinds: Readonly<Record<string, {plural: string; namespaced: boolean}>> = {
  'v1/ConfigMap': {plural: 'configmaps', namespaced: true},
  'v1/Event': {plural: 'events', namespaced: true},
  'v1/LimitRange': {plural: 'limitranges', namespaced: true},
  'v1/Namespace': {plural: 'namespaces', namespaced: false},
  'v1/Node': {plural: 'nodes', namespaced: false},
  'v1/PersistentVolume': {plural: 'persistentvolumes', namespaced: false},
  'v1/PersistentVolumeClaim': {plural: 'persistentvolumeclaims', namespaced: true},
  'v1/Pod': {plural: 'pods', namespaced: true},
  'v1/ResourceQuota': {plural: 'resourcequotas', namespaced: true},
  'v1/Secret': {plural: 'secrets', namespaced: true},
  'v1/Service': {plural: 'services', namespaced: true},
  'v1/ServiceAccount': {plural: 'serviceaccounts', namespaced: true},
  'admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy': {
    plural: 'validatingadmissionpolicies',
    namespaced: false,
  },
  'admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding': {
    plural: 'validatingadmissionpolicybindings',
    namespaced: false,
  },
  'apps/v1/DaemonSet': {plural: 'daemonsets', namespaced: true},
  'apps/v1/Deployment': {plural: 'deployments', namespaced: true},
  'apps/v1/ReplicaSet': {plural: 'replicasets', namespaced: true},
  'discovery.k8s.io/v1/EndpointSlice': {plural: 'endpointslices', namespaced: true},
  'networking.k8s.io/v1/NetworkPolicy': {plural: 'networkpolicies', namespaced: true},
  'rbac.authorization.k8s.io/v1/ClusterRole': {plural: 'clusterroles', namespaced: false},
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding': {plural: 'clusterrolebindings', namespaced: false},
  'rbac.authorization.k8s.io/v1/Role': {plural: 'roles', namespaced: true},
  'rbac.authorization.k8s.io/v1/RoleBinding': {plural: 'rolebindings', namespaced: true},
  'scheduling.k8s.io/v1/PriorityClass': {plural: 'priorityclasses', namespaced: false},
  'storage.k8s.io/v1/StorageClass': {plural: 'storageclasses', namespaced: false},
}

/** Path of a collection; without a namespace that of all namespaces. */
export function collectionPath(apiVersion: string, kind: string, namespace: string | undefined): string {
  const entry = kinds[`${apiVersion}/${kind}`]
  if (!entry) {
    throw new CageError(`cage has no use for ${kind} of ${apiVersion}`, {code: 'CLUSTER_KIND_UNKNOWN'})
  }
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const scope = entry.namespaced && namespace !== undefined ? `/namespaces/${segment(namespace)}` : ''
  return `${root}${scope}/${entry.plural}`
}

export function objectPath(ref: ObjectRef): string {
  const entry = kinds[`${ref.apiVersion}/${ref.kind}`]
  if (entry?.namespaced && ref.namespace === undefined) {
    throw new CageError(`${ref.kind} ${ref.name} has no namespace`, {code: 'CLUSTER_KIND_UNKNOWN'})
  }
  return `${collectionPath(ref.apiVersion, ref.kind, ref.namespace)}/${segment(ref.name)}`
}

/** `Pod shop-1a2b3c4d/task-login` */
export function refText(ref: ObjectRef): string {
  return `${ref.kind} ${ref.namespace === undefined ? '' : `${ref.namespace}/`}${ref.name}`
}

/** One path segment; a name can never climb out of its collection. */
export function segment(name: string): string {
  if (name === '' || name === '.' || name === '..') {
    throw new CageError(`"${name}" is no name of a Kubernetes object`, {code: 'CLUSTER_INVALID'})
  }
  return encodeURIComponent(name)
}
