import {KubeadmCluster} from '../../../provision/cluster/kubeadm.js'
import {bringScripts} from '../../../provision/guest-scripts.js'
import {systemClock} from '../../../core/clock.js'
import {processRunner} from '../../../core/process.js'
import type {Machine} from '../../../provision/machine/machine.js'
import type {MachineRecord} from '../../../provision/state/machine-record.js'
import {networkOf} from '../../../provision/state/network.js'
import {clusterContract, packageRoot} from '../../support/cluster-contract.js'
import {PretendedMachine} from '../../support/pretended-machine.js'

const GIB = 1024 ** 3
const record: MachineRecord = {
  version: 1,
  id: 'shop-00000001',
  project: 'shop',
  repository: '/src/shop',
  driver: 'local',
  cluster: 'kubeadm',
  cpus: 4,
  memory: 8 * GIB,
  disk: 60 * GIB,
  network: networkOf(200),
}

/** A node as far as its cluster sees it: closed when it starts, and its kubelet brings back what was there. */
function node(world: PretendedMachine): Machine {
  const {transport} = world
  const nothing = () => Promise.resolve()
  return {
    driver: 'local',
    transport,
    state: () => Promise.resolve(world.runs ? 'running' : 'stopped'),
    create: nothing,
    start: async ({signal}) => {
      if (!world.runs) await world.boot()
      await bringScripts({packageRoot, runner: processRunner, transport, signal})
      const begin = `mkdir -p /run/cage /run/sv /run/pretend
        nft list table inet cage >/dev/null 2>&1 || /usr/local/lib/cage/firewall.sh closed
        if [ -e /etc/kubernetes/cage/complete ]; then touch /run/pretend/up; fi`
      await transport.run({argv: ['sh', '-c', begin]})
    },
    stop: () => world.powerOff(),
    destroy: () => world.remove(),
    facts: () =>
      Promise.resolve({
        address: '10.200.0.2',
        architecture: 'amd64',
        cgroup: 'v2',
        supervisor: 'runit',
        sharesKernel: true,
        resolver: '10.0.2.3',
        around: [],
      }),
    api: async () => ({
      host: '127.0.0.1',
      port: (await world.transport.tunnel({address: '10.200.0.2', port: 6443})).port,
    }),
    close: nothing,
  }
}

clusterContract({
  kind: 'kubeadm',
  make: async ({images}) => {
    const world = await PretendedMachine.make('kubeadm')
    const machine = node(world)
    const parts = () =>
      Promise.resolve({layers: [], images, versions: {kubernetes: 'v1.36.3', etcd: 'v3.6.5'}})
    const options = {machine, record, clock: systemClock, kubernetes: 'v1.36.3', parts, seccomp: '{}'}
    return {world, machine, cluster: new KubeadmCluster(options)}
  },
  apiAddress: '10.200.0.2',
  installs: /^kubeadm init /,
  cutOff: ['import', 'init'],
  failures: {import: 'IMAGE_IMPORT', init: 'MACHINE_COMMAND_FAILED'},
})
