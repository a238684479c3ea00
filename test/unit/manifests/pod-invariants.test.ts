import {describe, expect, it} from '@jest/globals'
import {checkTaskPod} from '../../../manifests/pod-invariants.js'
import {taskPod} from '../../../manifests/task-pod.js'
import {foreignCluster, identity, ownCluster, taskPodView} from '../../support/manifest-views.js'
import {mutated, podMutations, userNamespaceMutations} from '../../support/pod-mutations.js'

const expected = {projectId: identity.projectId, task: identity.task, traits: ownCluster}

describe('invariants of a task pod', () => {
  const pod = taskPod(taskPodView())

  it('hold for the pod as it is built', () => {
    expect(() => checkTaskPod(pod, expected)).not.toThrow()
  })

  it.each([...podMutations, ...userNamespaceMutations])('refuse: $name', (mutation) => {
    expect(() => checkTaskPod(mutated(pod, mutation), expected)).toThrow(/is not sound/)
  })

  it('refuse a pod of another project or task', () => {
    expect(() => checkTaskPod(pod, {...expected, projectId: 'other-00000000'})).toThrow(/namespace/)
    expect(() => checkTaskPod(pod, {...expected, task: 'other'})).toThrow(/name is not that of its task/)
  })

  it('do without user namespaces only where the runtime has none', () => {
    const view = taskPodView({
      traits: foreignCluster,
      images: {agent: 'registry.example.com/cage/agent:1', proxy: 'registry.example.com/cage/proxy:1'},
    })
    const foreign = taskPod(view)
    expect(foreign['spec']).not.toHaveProperty('hostUsers')
    expect(() =>
      checkTaskPod(foreign, {...expected, traits: {...foreignCluster, userNamespaces: true}}),
    ).toThrow(/shares the users of the node/)
  })

  it('refuse an image from another place at once', () => {
    expect(() =>
      taskPod(taskPodView({images: {agent: 'cage.local/proxy:1', proxy: 'cage.local/proxy:1'}})),
    ).toThrow(/agent: its image is another/)
  })
})
