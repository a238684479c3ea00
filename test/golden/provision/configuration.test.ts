import {spawnSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {describe, expect, it} from '@jest/globals'
import {parse, parseAllDocuments} from 'yaml'
import {kubeadmConfiguration} from '../../../provision/cluster/kubeadm-configuration.js'
import {microk8sConfiguration} from '../../../provision/cluster/microk8s-configuration.js'
import {persistentVolume} from '../../../provision/cluster/volumes.js'
import {cniConfiguration, containerdConfiguration} from '../../../provision/machine/node-configuration.js'
import {networkOf} from '../../../provision/state/network.js'
import {FakeCluster} from '../../support/fake-cluster.js'
import {FakeRunner} from '../../support/fake-runner.js'
import {expectGolden} from '../../support/golden.js'
import {namespaceTransport} from '../../../provision/transport/namespace.js'

const GIB = 1024 ** 3
const settings = {
  node: 'cage-shop-00000001',
  network: networkOf(200),
  kubernetes: 'v1.36.3',
  etcd: 'v3.6.5',
  imagePrefix: 'cage.local/kubernetes',
  seen: {memory: 24 * GIB, cpus: 8},
  allowed: {memory: 8 * GIB, cpus: 4},
}

describe('what a node is configured with', () => {
  it('kubeadm, in namespaces on a computer with cgroup v1', () => {
    expectGolden(
      'provision/kubeadm-local.yaml',
      kubeadmConfiguration({...settings, cgroup: 'v1', supervisor: 'runit'}),
    )
  })

  it('kubeadm, in a virtual machine that is all its own', () => {
    const seen = {memory: 8 * GIB, cpus: 4}
    expectGolden(
      'provision/kubeadm-vm.yaml',
      kubeadmConfiguration({...settings, seen, cgroup: 'v2', supervisor: 'systemd'}),
    )
  })

  it('kubeadm: etcd writes through to its disk, and no image is ever fetched', () => {
    const text = kubeadmConfiguration({...settings, cgroup: 'v2', supervisor: 'runit'})
    expect(text).not.toContain('no-fsync')
    const documents = parseAllDocuments(text).map((document) => document.toJS() as {kind: string})
    expect(documents.map(({kind}) => kind)).toEqual([
      'InitConfiguration',
      'ClusterConfiguration',
      'KubeletConfiguration',
      'KubeProxyConfiguration',
    ])
    expect(documents[0]).toMatchObject({nodeRegistration: {imagePullPolicy: 'Never'}})
  })

  it('leaves room in a pod for the programs beside an agent that has used up its processes', () => {
    const text = kubeadmConfiguration({...settings, cgroup: 'v2', supervisor: 'runit'})
    const ofPod = Number(/podPidsLimit: (\d+)/.exec(text)?.[1])
    const service = readFileSync('provision/guest/sv/containerd/run', 'utf8')
    const ofUser = Number(/^ulimit -u (\d+)$/m.exec(service)?.[1])
    expect(ofUser).toBeGreaterThan(1000)
    expect(ofPod - ofUser).toBeGreaterThan(400)
  })

  it('microk8s: its launch configuration', () => {
    expectGolden('provision/microk8s.yaml', microk8sConfiguration())
  })

  it('microk8s: a shell that reads the arguments of its services gets each as one word', () => {
    const {extraKubeletArgs} = parse(microk8sConfiguration()) as {extraKubeletArgs: Record<string, string>}
    const file = Object.entries(extraKubeletArgs).map(([name, value]) => `${name}=${value}`)
    const script = 'declare -a args="($1)"; printf "%s\\n" "${args[@]}"'
    const {stdout, stderr} = spawnSync('bash', ['-c', script, 'bash', file.join('\n')], {encoding: 'utf8'})
    expect(stderr).toBe('')
    expect(stdout.trim().split('\n')).toEqual(file.map((line) => line.replaceAll('"', '')))
  })

  it('containerd', () => {
    expectGolden('provision/containerd.toml', containerdConfiguration('cage.local/kubernetes/pause:v1.36.3'))
  })

  it('the pod network', () => {
    expectGolden('provision/cni.json', cniConfiguration('10.200.64.0/18'))
  })

  it('a volume of one claim on one node', () => {
    const options = {
      transport: namespaceTransport(new FakeRunner(), () => Promise.resolve(1)),
      objects: new FakeCluster(),
      node: settings.node,
      namespace: 'shop-00000001',
      labels: {'cage.internal/project': 'shop'},
    }
    const volume = persistentVolume(options, 'home-login', 10 * GIB)
    expectGolden('provision/persistent-volume.json', `${JSON.stringify(volume, undefined, 2)}\n`)
  })
})
