import {describe, it} from '@jest/globals'
import {baseObjects} from '../../../manifests/base.js'
import {dispatcherObjects} from '../../../manifests/dispatcher.js'
import {policyProbe} from '../../../manifests/policy-probe.js'
import {toYaml} from '../../../manifests/render-for-people.js'
import {taskClaims, taskConfig, taskGrant} from '../../../manifests/task-objects.js'
import {taskPod} from '../../../manifests/task-pod.js'
import {expectGolden} from '../../support/golden.js'
import {
  baseView,
  dispatcherView,
  foreignCluster,
  identity,
  taskPodView,
} from '../../support/manifest-views.js'

describe('rendered manifests', () => {
  it('task pod on a machine of its own', () => {
    expectGolden('manifests/task-pod.yaml', toYaml([taskPod(taskPodView())]))
  })

  it('task pod on a foreign cluster', () => {
    const view = taskPodView({
      traits: foreignCluster,
      images: {agent: 'registry.example.com/cage/agent:01', proxy: 'registry.example.com/cage/proxy:02'},
    })
    expectGolden('manifests/task-pod-foreign.yaml', toYaml([taskPod(view)]))
  })

  it('the pod that tries NetworkPolicy, and its two policies', () => {
    const {projectId} = identity
    const view = {projectId, traits: foreignCluster, image: 'registry.example.com/cage/dispatcher:03'}
    const {pod, allow, deny} = policyProbe(view)
    expectGolden('manifests/policy-probe.yaml', toYaml([...pod, ...allow, ...deny]))
  })

  it('what surrounds a task pod', () => {
    const claims = taskClaims({...identity, traits: {storageClass: 'cage'}, diskBytes: 10 * 1024 ** 3})
    const config = taskConfig({
      ...identity,
      revision: 3,
      record: '{"version":1}',
      files: {agent: 'shell', prompt: 'say: "no"\n', argv: Buffer.from('bash\0-c\0true')},
    })
    const grant = taskGrant({...identity, revision: 3, files: {handle: 'cgt_00', 'egress.json': '{}'}})
    expectGolden('manifests/task-objects.yaml', toYaml([...claims, config, grant]))
  })

  it('base objects of a project', () => {
    expectGolden('manifests/base.yaml', toYaml(baseObjects(baseView())))
  })

  it('base objects on a foreign cluster', () => {
    const view = baseView({
      traits: foreignCluster,
      ownCluster: false,
      upstreams: {openings: [], publicPorts: [443]},
      publicPorts: [443, 80, 8443],
      openings: [],
      resolverPods: {
        namespace: 'kube-system',
        labels: {'k8s-app': 'kube-dns'},
        ports: [
          {protocol: 'UDP', port: 53},
          {protocol: 'TCP', port: 'dns-tcp'},
        ],
      },
      registryAccount: '{"auths":{"registry.example.com":{"auth":"bWU6cGFzcw=="}}}',
    })
    expectGolden('manifests/base-foreign.yaml', toYaml(baseObjects(view)))
  })

  it('dispatcher', () => {
    expectGolden('manifests/dispatcher.yaml', toYaml(dispatcherObjects(dispatcherView())))
  })
})
