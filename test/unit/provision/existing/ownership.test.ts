import {beforeEach, describe, expect, it} from '@jest/globals'
import type {KubeObject} from '../../../../core/kube-object.js'
import {claimNamespace, ownerOf, removeFromCluster} from '../../../../provision/existing/ownership.js'
import {FakeCluster} from '../../../support/fake-cluster.js'

const id = 'shop-1a2b3c4d'
const owner = ownerOf('a public key')
const tools = {detail: () => undefined}
let cluster: FakeCluster

beforeEach(() => {
  cluster = new FakeCluster()
})

const claim = (name: string, who = owner) =>
  claimNamespace(cluster, {id, owner: who, name, podSecurity: 'restricted'})
const policy = (kind: string, name: string, project: string): KubeObject => ({
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind,
  metadata: {name, labels: {'cage.internal/project': project}},
})
const priority = (name: string): KubeObject => ({
  apiVersion: 'scheduling.k8s.io/v1',
  kind: 'PriorityClass',
  metadata: {name},
})

describe('namespaces of a cluster that was there', () => {
  it('are taken once, and again by the same owner', async () => {
    await claim(id)
    await claim(id)
    expect(cluster.all('Namespace')).toHaveLength(1)
  })

  it.each([
    ['another cage', {'cage.internal/owner': ownerOf('another key')}],
    ['somebody without cage', {}],
  ])('are never taken from %s', async (_who, annotations) => {
    cluster.put({apiVersion: 'v1', kind: 'Namespace', metadata: {name: id, annotations}})
    await expect(claim(id)).rejects.toMatchObject({code: 'NAMESPACE_TAKEN', exitCode: 3})
    const {removed, left} = await removeFromCluster(cluster, {id, owner}, tools)
    expect(cluster.all('Namespace')).toHaveLength(1)
    expect(removed.filter((name) => name.startsWith('namespace'))).toEqual([])
    expect(left.join()).toContain('somebody else')
  })

  it('are removed with exactly what belongs to them', async () => {
    await claim(id)
    await claim(`${id}-dispatcher`)
    cluster.put({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: {name: 'other-00000000', labels: {'cage.internal/project': 'other-00000000'}},
    })
    for (const kind of ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding']) {
      cluster.put(policy(kind, `${id}-pods`, id))
      cluster.put(policy(kind, `${id}-dispatcher-pods`, 'somebody-else'))
      cluster.put(policy(kind, 'other-00000000-pods', 'other-00000000'))
    }
    cluster.put(priority('cage-task'))
    const {removed} = await removeFromCluster(cluster, {id, owner}, tools)
    expect(removed).toEqual([
      `namespace ${id}`,
      `ValidatingAdmissionPolicyBinding ${id}-pods`,
      `ValidatingAdmissionPolicy ${id}-pods`,
      `namespace ${id}-dispatcher`,
    ])
    expect(cluster.all('Namespace').map(({metadata}) => metadata.name)).toEqual(['other-00000000'])
    expect(cluster.all('ValidatingAdmissionPolicy')).toHaveLength(2)
    expect(cluster.all('PriorityClass')).toHaveLength(1)
  })

  it('a removal that was cut off is finished', async () => {
    cluster.put(policy('ValidatingAdmissionPolicy', `${id}-pods`, id))
    const {removed} = await removeFromCluster(cluster, {id, owner}, tools)
    expect(removed).toEqual([`ValidatingAdmissionPolicy ${id}-pods`])
  })

  it('the last project takes what all shared', async () => {
    await claim(id)
    cluster.put(priority('cage-task'))
    cluster.put(priority('cage-dispatcher'))
    cluster.put(priority('system'))
    await removeFromCluster(cluster, {id, owner}, tools)
    expect(cluster.all('PriorityClass').map(({metadata}) => metadata.name)).toEqual(['system'])
  })

  it('says which volumes the cluster keeps', async () => {
    const volume = (name: string, namespace: string, policy: string): KubeObject => ({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: {name},
      spec: {persistentVolumeReclaimPolicy: policy, claimRef: {namespace, name: 'home-login'}},
    })
    cluster.put(volume('kept', id, 'Retain'))
    cluster.put(volume('gone', id, 'Delete'))
    cluster.put(volume('theirs', 'default', 'Retain'))
    const {left} = await removeFromCluster(cluster, {id, owner}, tools)
    expect(left).toEqual(['PersistentVolume kept: its storage class retains it'])
  })
})
