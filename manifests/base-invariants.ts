import type {KubeObject} from '../core/kube-object.js'
import {clusterNames} from '../core/layout.js'
import type {BaseView} from './base-view.js'
import {dispatcherShape} from './dispatcher-shape.js'
import {invalid} from './objects.js'
import {podValidations, podVariables} from './pod-policy.js'
import {taskShape} from './task-shape.js'

/** What no template may lose: the default deny, the pinned pod shapes, namespaces without tokens. */
export function checkBase(objects: readonly KubeObject[], view: BaseView): void {
  const problems: string[] = []
  const {projectId, traits} = view
  for (const [namespace, shape] of [
    [clusterNames.taskNamespace(projectId), taskShape],
    [clusterNames.dispatcherNamespace(projectId), dispatcherShape],
  ] as const) {
    const own = objects.filter(({metadata}) => metadata.namespace === namespace)
    const space = objects.find(({kind, metadata}) => kind === 'Namespace' && metadata.name === namespace)
    // A fence needs NET_ADMIN, which every other level forbids; the policy below is stricter than any of them.
    if (space?.metadata.labels?.['pod-security.kubernetes.io/enforce'] !== 'privileged') {
      problems.push(`namespace ${namespace} lets no fence start`)
    }
    if (!own.some(isDefaultDeny)) problems.push(`namespace ${namespace} has no default-deny network policy`)
    if (
      own.some(
        (object) => object.kind === 'ServiceAccount' && object['automountServiceAccountToken'] !== false,
      )
    ) {
      problems.push(`a service account of ${namespace} hands out tokens`)
    }
    const policy = objects.find(
      ({kind, metadata}) => kind === 'ValidatingAdmissionPolicy' && metadata.name === `${namespace}-pods`,
    )
    const binding = objects.find(
      ({kind, metadata}) =>
        kind === 'ValidatingAdmissionPolicyBinding' && metadata.name === `${namespace}-pods`,
    )
    if (!policy || !pins(policy, podValidations(shape, traits)))
      problems.push(`pods of ${namespace} are not pinned`)
    if (!binding || !denies(binding, `${namespace}-pods`, namespace)) {
      problems.push(`the policy of ${namespace} is not bound to it`)
    }
  }
  if (problems.length > 0) throw invalid('base', problems.join('; '))
}

function isDefaultDeny(object: KubeObject): boolean {
  return (
    object.kind === 'NetworkPolicy' &&
    JSON.stringify(object['spec']) === JSON.stringify({podSelector: {}, policyTypes: ['Ingress', 'Egress']})
  )
}

function pins(policy: KubeObject, validations: readonly object[]): boolean {
  const spec = policy['spec'] as {
    failurePolicy?: string
    matchConditions?: unknown
    matchConstraints?: {resourceRules?: unknown; [other: string]: unknown}
    validations?: unknown[]
    variables?: unknown
  }
  const found = new Set((spec.validations ?? []).map((validation) => JSON.stringify(validation)))
  return (
    spec.failurePolicy === 'Fail' &&
    spec.matchConditions === undefined &&
    Object.keys(spec.matchConstraints ?? {}).join() === 'resourceRules' &&
    JSON.stringify(spec.matchConstraints?.resourceRules) === JSON.stringify(podRules) &&
    JSON.stringify(spec.variables) === JSON.stringify(podVariables) &&
    validations.every((validation) => found.has(JSON.stringify(validation)))
  )
}

const podRules = [
  {
    apiGroups: [''],
    apiVersions: ['v1'],
    operations: ['CREATE', 'UPDATE'],
    resources: ['pods', 'pods/ephemeralcontainers', 'pods/resize'],
  },
]

function denies(binding: KubeObject, policy: string, namespace: string): boolean {
  const expected = {
    policyName: policy,
    validationActions: ['Deny'],
    matchResources: {namespaceSelector: {matchLabels: {'kubernetes.io/metadata.name': namespace}}},
  }
  return JSON.stringify(binding['spec']) === JSON.stringify(expected)
}
