import {describe, expect, it} from '@jest/globals'
import {CageError} from '../../../core/errors.js'
import type {KubeObject} from '../../../core/kube-object.js'
import {FakeCluster} from '../../support/fake-cluster.js'

const pod: KubeObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {name: 'a', namespace: 'n', labels: {x: '1'}},
  spec: {},
}
const ref = {apiVersion: 'v1', kind: 'Pod', name: 'a', namespace: 'n'}

/** The fake promises what the contract says; the real one is held to it in test/integration and test/cluster. */
describe('the fake cluster', () => {
  it('keeps what is created, once', async () => {
    const cluster = new FakeCluster()
    await expect(cluster.create(pod, {dryRun: true})).resolves.toBe('created')
    await expect(cluster.get(ref)).resolves.toBeUndefined()
    await expect(cluster.create(pod)).resolves.toBe('created')
    await expect(cluster.create(pod)).resolves.toBe('exists')
    await expect(cluster.get(ref)).resolves.toMatchObject(pod)
    expect(cluster.calls).toEqual(['create Pod n/a', 'create Pod n/a', 'create Pod n/a'])
  })

  it('hands out copies', async () => {
    const cluster = new FakeCluster()
    await cluster.create(pod)
    const copy = await cluster.get(ref)
    copy!.metadata.labels = {}
    await expect(cluster.get(ref)).resolves.toMatchObject({metadata: {labels: {x: '1'}}})
  })

  it.each([
    ['x=1', 1],
    ['x==1', 1],
    ['x=2', 0],
    ['x!=2', 1],
    ['x', 1],
    ['y', 0],
    ['x=1,y=2', 0],
  ])('selects by label %s', async (labelSelector, count) => {
    const cluster = new FakeCluster()
    await cluster.create(pod)
    await expect(cluster.list({apiVersion: 'v1', kind: 'Pod', labelSelector})).resolves.toHaveLength(count)
  })

  it('patches by merging and deletes', async () => {
    const cluster = new FakeCluster()
    await cluster.create(pod)
    await cluster.patch(ref, {metadata: {labels: {x: null, y: '2'}}})
    await expect(cluster.get(ref)).resolves.toMatchObject({metadata: {labels: {y: '2'}}})
    await expect(cluster.delete(ref)).resolves.toBe(true)
    await expect(cluster.delete(ref)).resolves.toBe(false)
    await expect(cluster.patch(ref, {})).rejects.toMatchObject({code: 'CLUSTER_NOT_FOUND'})
  })

  it('wakes who waits', async () => {
    const cluster = new FakeCluster()
    const waiting = cluster.waitFor(ref, (object) => object?.['status'] === 'done', {
      what: 'it',
      deadlineMs: 5000,
    })
    await cluster.create(pod)
    cluster.put({...pod, status: 'done'})
    await expect(waiting).resolves.toMatchObject({status: 'done'})
    await expect(cluster.waitFor(ref, () => false, {what: 'it', deadlineMs: 20})).rejects.toMatchObject({
      code: 'CLUSTER_DEADLINE',
    })
    await expect(
      cluster.waitFor(ref, () => false, {what: 'it', deadlineMs: 5000, signal: AbortSignal.abort()}),
    ).rejects.toMatchObject({code: 'INTERRUPTED'})
  })

  it('fails as planned, once', async () => {
    const cluster = new FakeCluster()
    cluster.fail('create Pod n/a', new CageError('no', {code: 'X'}))
    await expect(cluster.create(pod)).rejects.toMatchObject({code: 'X'})
    await expect(cluster.create(pod)).resolves.toBe('created')
  })
})
