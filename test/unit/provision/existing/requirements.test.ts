import {beforeEach, describe, expect, it} from '@jest/globals'
import {CageError} from '../../../../core/errors.js'
import {clusterChecks, demandOfCluster, type Wanted} from '../../../../provision/existing/requirements.js'
import {FakeCluster} from '../../../support/fake-cluster.js'

const wanted: Wanted = {id: 'shop-1a2b3c4d', resolver: false, architecture: 'amd64'}
const node = {
  name: 'one',
  ready: true,
  internalIp: '10.0.0.1',
  kubelet: 'v1.34.2',
  runtime: 'containerd://2.1.0',
  userNamespaces: true,
  architecture: 'amd64',
}
let cluster: FakeCluster

function storageClass(name: string, isDefault: boolean) {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: {
      name,
      ...(isDefault ? {annotations: {'storageclass.kubernetes.io/is-default-class': 'true'}} : {}),
    },
    provisioner: 'csi.example.com',
  }
}

beforeEach(() => {
  cluster = new FakeCluster()
  cluster.nodeAnswer = [node, {...node, name: 'two'}]
  cluster.put(storageClass('slow', false))
  cluster.put(storageClass('fast', true))
  cluster.put({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {name: 'kube-dns', namespace: 'kube-system'},
    spec: {clusterIP: '10.96.0.10', selector: {'k8s-app': 'kube-dns'}, ports: []},
  })
})

const missing = async (changes: Partial<Wanted> = {}) =>
  (await clusterChecks(cluster, {...wanted, ...changes})).filter(({ok}) => !ok)
const forbidden = (what: string) =>
  new CageError(`cannot ${what}: forbidden`, {code: 'CLUSTER_FORBIDDEN', exitCode: 4})

describe('what a cluster must offer', () => {
  it('a cluster that has it all lacks nothing, and nothing in it is changed', async () => {
    expect(await missing()).toEqual([])
    expect(cluster.all('Namespace')).toEqual([])
    expect(cluster.calls).toEqual(['create Namespace shop-1a2b3c4d'])
  })

  it.each<[string, string, (cluster: FakeCluster) => void, Partial<Wanted>?]>([
    [
      'Kubernetes version',
      'v1.29.9',
      (fake) => void (fake.versionAnswer = {gitVersion: 'v1.29.9', major: 1, minor: 29}),
    ],
    [
      'native sidecars',
      'old kubelets: one v1.28.3',
      (fake) => void (fake.nodeAnswer = [{...node, kubelet: 'v1.28.3'}]),
    ],
    ['nodes', '0 of 1 ready', (fake) => void (fake.nodeAnswer = [{...node, ready: false}])],
    [
      'processor of the nodes',
      'not amd64: two arm64',
      (fake) => void (fake.nodeAnswer = [node, {...node, name: 'two', architecture: 'arm64'}]),
    ],
    [
      'ValidatingAdmissionPolicy',
      'cannot list',
      (fake) =>
        fake.fail(
          'list ValidatingAdmissionPolicy',
          new CageError('cannot list ValidatingAdmissionPolicy', {code: 'CLUSTER_NOT_FOUND'}),
        ),
    ],
    [
      'NET_ADMIN in an init container',
      'webhook denied',
      (fake) =>
        fake.fail(
          'create Namespace shop-1a2b3c4d',
          new CageError('webhook denied', {code: 'ADMISSION_DENIED'}),
        ),
    ],
    ['storage class', 'no gold among slow, fast', () => undefined, {storageClass: 'gold'}],
    [
      'storage class',
      'no default among slow',
      (fake) => {
        fake.put(storageClass('fast', false))
      },
    ],
    [
      'resolver',
      'no service kube-dns',
      (fake) =>
        void fake.delete({apiVersion: 'v1', kind: 'Service', name: 'kube-dns', namespace: 'kube-system'}),
    ],
    [
      'permissions',
      'not permitted: create pods/exec, delete/patch networkpolicies.networking.k8s.io',
      (fake) => {
        for (const one of ['create pods/exec', 'patch networkpolicies', 'delete networkpolicies'])
          fake.forbidden.add(one)
      },
    ],
  ])('names what is missing: %s (%s)', async (name, found, change, changes = {}) => {
    change(cluster)
    const lacking = await missing(changes)
    expect(lacking).toHaveLength(1)
    expect(lacking[0]).toMatchObject({name, required: true})
    for (const part of found.split(', ')) expect(lacking[0]?.found).toContain(part.split('/')[0])
    expect(lacking[0]?.fix).toMatch(/^[A-Z].*\.$/)
  })

  it('names everything at once', async () => {
    cluster.versionAnswer = {gitVersion: 'v1.27.0', major: 1, minor: 27}
    cluster.nodeAnswer = []
    cluster.fail('list StorageClass', forbidden('list StorageClass'))
    cluster.forbidden.add('create namespaces')
    const checks = await clusterChecks(cluster, wanted)
    expect(() => demandOfCluster(checks)).toThrow('this cluster and its registry lack what cage needs:')
    const names = checks.filter(({ok, required}) => required && !ok).map(({name}) => name)
    expect(names).toEqual(['Kubernetes version', 'nodes', 'storage class', 'permissions'])
  })

  it('reports user namespaces and does not demand them', async () => {
    cluster.nodeAnswer = [node, {...node, name: 'two', userNamespaces: false}]
    const checks = await clusterChecks(cluster, wanted)
    expect(checks.filter(({ok}) => !ok)).toMatchObject([{name: 'user namespaces', found: 'not on two'}])
    expect(() => demandOfCluster(checks)).not.toThrow()
  })

  it('takes the operator’s resolver for the cluster’s', async () => {
    await cluster.delete({apiVersion: 'v1', kind: 'Service', name: 'kube-dns', namespace: 'kube-system'})
    expect(await missing({resolver: true})).toEqual([])
  })

  it('does not take a cluster that does not answer for one that lacks things', async () => {
    cluster.fail('list StorageClass', new CageError('gone', {code: 'CLUSTER_UNREACHABLE'}))
    await expect(clusterChecks(cluster, wanted)).rejects.toMatchObject({code: 'CLUSTER_UNREACHABLE'})
  })
})
