import type {KubeObject} from '../core/kube-object.js'
import {clusterNames, dispatcherPort, label, uid} from '../core/layout.js'
import {registryObjects} from './base.js'
import {parseObjects} from './objects.js'
import type {ClusterTraits} from './pod-shape.js'
import {nodeProgram} from './task-shape.js'
import {Templates} from './templates.js'

export const probePod = 'probe'

export interface PolicyProbeView {
  projectId: string
  traits: Pick<ClusterTraits, 'pullPolicy'>
  /** reference of an image that has Node */
  image: string
  registryAccount?: string
}

/** The pod that knocks at the dispatcher, the policy that must let it in, and the one that must silence it. */
export function policyProbe(
  view: PolicyProbeView,
  templates: Templates = new Templates(),
): {pod: KubeObject[]; allow: KubeObject[]; deny: KubeObject[]} {
  const namespace = clusterNames.probeNamespace(view.projectId)
  const labels = {[label.project]: view.projectId}
  const {secrets, pullSecrets} = registryObjects(view, namespace, templates)
  const values = {
    name: probePod,
    namespace,
    labels,
    pullSecrets,
    uid: uid.git,
    image: view.image,
    pullPolicy: view.traits.pullPolicy,
    command: [nodeProgram, '-e', 'setInterval(() => undefined, 1000000)'],
  }
  const policy = (file: string, values: Record<string, unknown>) =>
    parseObjects(file, templates.render(file, values), ['NetworkPolicy'])
  return {
    pod: [
      ...secrets,
      ...parseObjects('policy-probe.yaml', templates.render('policy-probe.yaml', values), [
        'ServiceAccount',
        'Pod',
      ]),
    ],
    allow: policy('policy-probe-allow.yaml', {
      namespace,
      labels,
      dispatcherNamespace: clusterNames.dispatcherNamespace(view.projectId),
      dispatcherLabels: {[label.component]: 'dispatcher'},
      port: dispatcherPort.gate,
    }),
    deny: policy('policy-probe-deny.yaml', {namespace, labels}),
  }
}
