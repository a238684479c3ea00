import type {KubeObject} from '../core/kube-object.js'
import {clusterNames, label, uid} from '../core/layout.js'
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

/** The pod that knocks, and the policy that must silence it, to be applied after it was heard. */
export function policyProbe(
  view: PolicyProbeView,
  templates: Templates = new Templates(),
): {pod: KubeObject[]; deny: KubeObject[]} {
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
  return {
    pod: [
      ...secrets,
      ...parseObjects('policy-probe.yaml', templates.render('policy-probe.yaml', values), [
        'ServiceAccount',
        'Pod',
      ]),
    ],
    deny: parseObjects(
      'policy-probe-deny.yaml',
      templates.render('policy-probe-deny.yaml', {namespace, labels}),
      ['NetworkPolicy'],
    ),
  }
}
