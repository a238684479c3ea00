import type {KubeObject} from '../core/kube-object.js'
import {clusterNames, label} from '../core/layout.js'
import type {BaseView} from './base-view.js'
import {checkBase} from './base-invariants.js'
import {dispatcherPriority, dispatcherServiceAccount, dispatcherShape} from './dispatcher-shape.js'
import {dispatcherEgress, dispatcherIngress, taskEgress} from './network.js'
import {parseObjects} from './objects.js'
import {podValidations, podVariables} from './pod-policy.js'
import type {PodShape} from './pod-shape.js'
import {taskPriority, taskServiceAccount, taskShape} from './task-shape.js'
import {Templates} from './templates.js'

const MAX_TASKS = 100
/** account with which the kubelet pulls the images of tasks and dispatcher */
const registrySecret = 'registry'

/**
 * Everything of a project that is there before its first task, in the order to apply it: what the cluster has once,
 * then both namespaces. Errors: TEMPLATE_INVALID, MANIFEST_INVALID.
 */
export function baseObjects(view: BaseView, templates: Templates = new Templates()): KubeObject[] {
  const tasks = clusterNames.taskNamespace(view.projectId)
  const dispatcher = clusterNames.dispatcherNamespace(view.projectId)
  const maxTasks = view.maxTasks ?? MAX_TASKS
  const labels = {[label.project]: view.projectId}
  const render = (name: string, values: Record<string, unknown>, kinds: readonly string[]) =>
    parseObjects(
      `${name}.yaml`,
      templates.render(`${name}.yaml`, {labels, projectId: view.projectId, ...values}),
      kinds,
    )
  const registry = (namespace: string) => registryObjects(view, namespace, templates)
  const namespaceKinds = ['Namespace', 'ServiceAccount', 'ServiceAccount', 'NetworkPolicy', 'NetworkPolicy']
  const objects = [
    ...render(
      'cluster',
      {taskPriority, dispatcherPriority, dispatcherPreempts: view.ownCluster ? null : 'Never'},
      ['PriorityClass', 'PriorityClass'],
    ),
    ...(view.ownCluster ? render('storage', {name: view.traits.storageClass}, ['StorageClass']) : []),
    ...render(
      'task-namespace',
      {
        namespace: tasks,
        serviceAccount: taskServiceAccount,
        pullSecrets: registry(tasks).pullSecrets,
        egress: taskEgress(view),
        quota: {
          pods: String(maxTasks),
          persistentvolumeclaims: String(maxTasks * 2),
          services: '0',
          'count/replicationcontrollers': '0',
          'count/deployments.apps': '0',
          'count/jobs.batch': '0',
        },
      },
      [...namespaceKinds, 'ResourceQuota'],
    ),
    ...registry(tasks).secrets,
    ...admission(taskShape, view, tasks, templates),
    ...render(
      'dispatcher-namespace',
      {
        namespace: dispatcher,
        serviceAccount: dispatcherServiceAccount,
        pullSecrets: registry(dispatcher).pullSecrets,
        ingress: dispatcherIngress(view),
        egress: dispatcherEgress(view),
      },
      namespaceKinds,
    ),
    ...registry(dispatcher).secrets,
    ...admission(dispatcherShape, view, dispatcher, templates),
  ]
  checkBase(objects, view)
  return objects
}

/** The account with which the kubelet pulls images, and how service accounts name it; null = none is needed. */
export function registryObjects(
  {projectId, registryAccount}: Pick<BaseView, 'projectId' | 'registryAccount'>,
  namespace: string,
  templates: Templates,
): {secrets: KubeObject[]; pullSecrets: {name: string}[] | null} {
  if (registryAccount === undefined) return {secrets: [], pullSecrets: null}
  const text = templates.render('registry.yaml', {
    name: registrySecret,
    namespace,
    labels: {[label.project]: projectId},
    account: Buffer.from(registryAccount).toString('base64'),
  })
  return {secrets: parseObjects('registry.yaml', text, ['Secret']), pullSecrets: [{name: registrySecret}]}
}

/** The policy that pins the shape of pods in one namespace, and its binding. */
function admission(shape: PodShape, view: BaseView, namespace: string, templates: Templates): KubeObject[] {
  const text = templates.render('admission.yaml', {
    labels: {[label.project]: view.projectId},
    name: `${namespace}-pods`,
    namespace,
    variables: podVariables,
    validations: podValidations(shape, view.traits),
  })
  return parseObjects('admission.yaml', text, [
    'ValidatingAdmissionPolicy',
    'ValidatingAdmissionPolicyBinding',
  ])
}
