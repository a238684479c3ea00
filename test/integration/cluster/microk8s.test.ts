import {describe, expect, beforeEach, afterEach} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {Microk8sCluster} from '../../../provision/cluster/microk8s.js'
import {applyFirewall} from '../../../provision/firewall.js'
import {GuestMachine} from '../../../provision/machine/guest-machine.js'
import {GuestSystem} from '../../../provision/machine/guest-system.js'
import {GuestUpkeep} from '../../../provision/machine/upkeep.js'
import type {VirtualMachine} from '../../../provision/machine/virtual-machine.js'
import type {MachineRecord} from '../../../provision/state/machine-record.js'
import {
  clusterContract,
  clusterWork,
  packageRoot,
  type ClusterUnderTest,
} from '../../support/cluster-contract.js'
import {noNamespaces, PretendedMachine} from '../../support/pretended-machine.js'
import {itUnless} from '../../support/when.js'

const GIB = 1024 ** 3
const record: MachineRecord = {
  version: 1,
  id: 'shop-00000001',
  project: 'shop',
  repository: '/src/shop',
  driver: 'lima',
  cluster: 'microk8s',
  cpus: 4,
  memory: 8 * GIB,
  disk: 60 * GIB,
  sshPort: 52957,
}

/** A guest whose service manager starts at boot what is enabled. */
function guest(world: PretendedMachine): VirtualMachine {
  const nothing = () => Promise.resolve()
  let made = false
  return {
    driver: 'lima',
    logs: [],
    firstLogin: () => Promise.resolve(undefined),
    state: () => Promise.resolve(!made ? 'absent' : world.runs ? 'running' : 'stopped'),
    create: () => {
      made = true
      return Promise.resolve()
    },
    start: async () => {
      if (world.runs) return
      await world.boot()
      const services = `mkdir -p /run/pretend
        if grep -qsx cage.service /var/lib/pretend/enabled; then /usr/local/lib/cage/vm/system.sh start; fi
        if [ -e /var/lib/pretend/snap ] && [ ! -e /var/snap/microk8s/current/var/lock/stopped.lock ]; then touch /run/pretend/up; fi`
      await world.transport.run({argv: ['sh', '-c', services]})
    },
    stop: () => (world.runs ? world.powerOff() : nothing()),
    destroy: async () => {
      made = false
      await world.remove()
    },
    address: () => Promise.resolve({host: '127.0.0.1', port: 52957}),
  }
}

async function make(): Promise<ClusterUnderTest> {
  const world = await PretendedMachine.make('microk8s')
  const system = new GuestSystem({
    driver: 'lima',
    host: world.transport,
    runner: processRunner,
    record,
    packageRoot,
    around: () => ['203.0.113.9'],
  })
  const machine = new GuestMachine(
    guest(world),
    system,
    new GuestUpkeep(world.transport, packageRoot),
    world.transport,
  )
  const seconds = {seeded: 2, api: 4, ready: 4}
  return {world, machine, cluster: new Microk8sCluster({machine, record, seccomp: '{"of": "cage"}', seconds})}
}

clusterContract({
  kind: 'microk8s',
  make,
  apiAddress: '127.0.0.1',
  installs: /^snap install /,
  cutOff: ['store', 'cut-off', 'launch', 'status', 'addon', 'images'],
  failures: {
    unseeded: 'SNAPD_NOT_READY',
    'no-snapd': 'SNAPD_NOT_READY',
    store: 'SNAP_STORE_UNREACHABLE',
    'store-dns': 'SNAP_STORE_UNREACHABLE',
    classic: 'SNAP_CLASSIC_REFUSED',
    channel: 'SNAP_CHANNEL',
    busy: 'SNAP_BUSY',
    disk: 'MACHINE_DISK_FULL',
    launch: 'MICROK8S_FAILED',
    api: 'MICROK8S_NOT_READY',
    status: 'MICROK8S_NOT_READY',
    images: 'MICROK8S_IMAGES',
    addon: 'MICROK8S_ADDON',
  },
})

describe('microk8s in the system of a guest', () => {
  let it_: ClusterUnderTest
  const test = (name: string, body: () => Promise<void>) => itUnless(noNamespaces, name, body, 60_000)
  beforeEach(async () => {
    if (noNamespaces === undefined) it_ = await make()
  })
  afterEach(async () => {
    if (noNamespaces === undefined) await it_.world.remove()
  })
  const up = async () => {
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    await it_.cluster.install(clusterWork)
  }
  const said = async (script: string) => {
    const {code, stdout, stderr} = await it_.machine.transport.run({argv: ['bash', '-c', script]})
    return `${stdout.toString()}${code === 0 ? '' : stderr}`.trim()
  }
  const args = (file: string) => it_.world.read(`var/snap/microk8s/current/args/${file}`)

  test('listens on loopback, asks who may, and runs nothing that nobody needs', async () => {
    await up()
    expect(await args('kube-apiserver')).toMatch(/^--bind-address=127\.0\.0\.1$/m)
    expect(await args('kube-apiserver')).toMatch(/^--authorization-mode=RBAC,Node$/m)
    expect(await args('cluster-agent')).toBe('--bind=127.0.0.1:25000\n')
    expect(await args('kubelet')).toMatch(/^--root-dir=/m)
    expect(await args('kubelet')).toMatch(/^--eviction-hard="memory/m)
    expect((await args('containerd-env')).match(/^ulimit -u 1536$/gm)).toHaveLength(1)
    expect((await it_.world.read('var/lib/pretend/addons')).trim().split('\n').sort()).toEqual([
      'core/ha-cluster',
      'core/helm',
      'core/helm3',
      'core/rbac',
    ])
  })

  test('switches off an addon that is on all the same', async () => {
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    await it_.world.wrong('status', 1)
    await expect(it_.cluster.install(clusterWork)).rejects.toMatchObject({code: 'MICROK8S_NOT_READY'})
    await said('echo core/dns >>/var/lib/pretend/addons')
    await it_.cluster.install(clusterWork)
    expect(await it_.world.calls()).toContain('microk8s disable core/dns')
    expect(await it_.world.read('var/lib/pretend/addons')).not.toContain('dns')
  })

  test('installs the pinned channel with classic confinement, and holds it', async () => {
    await up()
    const calls = await it_.world.calls()
    expect(calls).toContain('snap install microk8s --classic --channel=1.36/stable')
    expect(calls).toContain('snap refresh --hold microk8s')
    expect(await it_.world.read('var/lib/pretend/held')).toBe('held\n')
  })

  test('holds everything for a while where snapd knows no more', async () => {
    await it_.world.wrong('hold')
    await up()
    expect((await it_.world.calls()).join('\n')).toMatch(/^snap set system refresh\.hold=20\S+Z$/m)
  })

  test('says so when the snap cannot be held', async () => {
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    await it_.world.wrong('hold')
    await it_.world.wrong('hold-all')
    await expect(it_.cluster.install(clusterWork)).rejects.toMatchObject({code: 'SNAP_NOT_HELD'})
  })

  test('tells what microk8s finds wrong with itself', async () => {
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    await it_.world.wrong('status')
    await expect(it_.cluster.install(clusterWork)).rejects.toMatchObject({
      exitCode: 5,
      message: expect.stringMatching(
        /FAIL: {1,2}Service snap\.microk8s\.daemon-kubelite is not running[^]*WARNING/,
      ),
      hints: [expect.stringContaining('inspect'), expect.any(String)],
    })
  })

  test('puts cage’s seccomp profile where this kubelet looks, and leaves /var/lib/kubelet to the snap', async () => {
    await up()
    expect(await said('cat /var/lib/kubelet/seccomp/cage.json')).toBe('{"of": "cage"}')
    expect(await said('readlink /var/lib/kubelet')).toBe('/var/snap/microk8s/common/var/lib/kubelet')
  })

  test('waits for an installation that goes on without its caller, and begins no second one', async () => {
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    await it_.world.wrong('cut-off', 1)
    await expect(it_.cluster.install(clusterWork)).rejects.toThrow()
    await it_.cluster.install(clusterWork)
    expect((await it_.world.calls()).filter((call) => call.startsWith('snap install'))).toHaveLength(1)
    expect(await it_.cluster.state()).toBe('ready')
  })

  test('is started again when somebody stopped it', async () => {
    await up()
    await said('microk8s stop')
    expect(await it_.cluster.state()).toBe('starting')
    await it_.cluster.install(clusterWork)
    expect(await it_.cluster.state()).toBe('ready')
  })

  test('gets a new certificate when the old one ended', async () => {
    await up()
    await said('echo -3 >/var/lib/pretend/days')
    expect(await it_.cluster.state()).toBe('starting')
    await it_.cluster.install(clusterWork)
    expect(await it_.cluster.state()).toBe('ready')
    expect((await it_.world.calls()).filter((call) => call.includes('refresh-certs -e'))).toEqual([
      'microk8s refresh-certs -e server.crt',
    ])
  })

  test('is absent, and made anew, when somebody removed the snap', async () => {
    await up()
    await said('snap remove --purge microk8s')
    expect(await it_.cluster.state()).toBe('absent')
    await it_.cluster.install(clusterWork)
    expect(await it_.cluster.state()).toBe('ready')
  })

  test('says which package sources the machine cannot reach', async () => {
    await it_.world.wrong('packages')
    await it_.machine.create(clusterWork)
    // As on an image without snapd.
    await said('rm /usr/local/bin/snap')
    const failure: unknown = await it_.machine.start(clusterWork).catch((error: unknown) => error)
    expect(failure).toMatchObject({code: 'MACHINE_PACKAGES', exitCode: 3})
    expect((failure as Error).message).toContain('Unable to locate package snapd')
  })

  test('knows its address, its resolver and what is around it', async () => {
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    await it_.world.write(
      'run/systemd/resolve/resolv.conf',
      'nameserver 127.0.0.53\nnameserver 192.168.5.3\n',
    )
    expect(await it_.machine.facts()).toMatchObject({
      address: '10.77.0.5',
      resolver: '192.168.5.3',
      supervisor: 'systemd',
      around: ['10.77.0.5', '203.0.113.9'],
    })
  })

  test('lets pods out to public addresses alone, and whoever stands beside them to the dispatcher', async () => {
    const listen = (where: string, port: number) =>
      `ip netns exec ${where} python3 -m http.server ${port} --bind 0.0.0.0 >/dev/null 2>&1 &`
    const places = `
      ip netns add pod; ip link add cali1 type veth peer name eth0 netns pod; ip link set cali1 up
      ip addr add 169.254.1.1/32 dev cali1; ip route add 10.1.0.5/32 dev cali1
      ip -n pod addr add 10.1.0.5/32 dev eth0; ip -n pod link set eth0 up; ip -n pod link set lo up
      ip -n pod route add 169.254.1.1 dev eth0; ip -n pod route add default via 169.254.1.1 onlink dev eth0
      ip netns add outside; ip link set peer9 netns outside
      ip -n outside addr add 10.77.0.1/24 dev peer9; ip -n outside addr add 8.8.8.8/32 dev peer9
      ip -n outside link set peer9 up; ip -n outside link set lo up
      echo 1 >/proc/sys/net/ipv4/ip_forward
      nft add table ip services
      nft 'add chain ip services pre { type nat hook prerouting priority dstnat; }'
      nft add rule ip services pre ip daddr 10.152.183.44 tcp dport 443 dnat to 10.1.0.5:8443
      ${listen('pod', 8443)} ${listen('outside', 443)} ${listen('outside', 22)}
      until (exec 3<>/dev/tcp/10.1.0.5/8443 && exec 4<>/dev/tcp/10.77.0.1/443 && exec 5<>/dev/tcp/10.77.0.1/22) 2>/dev/null; do sleep 0.1; done`
    const knocks = `for to in 8.8.8.8/443 8.8.8.8/22 10.77.0.1/443; do
      if ip netns exec pod timeout 2 bash -c "exec 3<>/dev/tcp/$to" 2>/dev/null; then echo "pod $to"; fi; done
      /usr/local/lib/cage/lookout.sh 10.152.183.44:443 10.77.0.1:443`
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    await said(places)
    expect(await said(knocks)).toBe('')
    await applyFirewall(it_.machine.transport, {
      dispatcher: {address: '10.152.183.44', port: 443},
      resolver: '192.0.2.53',
      computer: ['10.77.0.5'],
      publicPorts: [{protocol: 'tcp', port: 443}],
      openings: [],
    })
    expect((await said(knocks)).split('\n')).toEqual(['pod 8.8.8.8/443', '10.152.183.44:443'])
  })

  test('is closed: pods reach nothing on it, from outside comes only SSH', async () => {
    const places = `
      ip netns add pod; ip link add cali1 type veth peer name eth0 netns pod; ip link set cali1 up
      ip addr add 169.254.1.1/32 dev cali1; ip route add 10.1.0.5/32 dev cali1
      ip -n pod addr add 10.1.0.5/32 dev eth0; ip -n pod link set eth0 up
      ip -n pod route add 169.254.1.1 dev eth0; ip -n pod route add default via 169.254.1.1 onlink dev eth0
      ip netns add outside; ip link set peer9 netns outside
      ip -n outside addr add 10.77.0.1/24 dev peer9; ip -n outside link set peer9 up
      for port in 22 10250; do python3 -m http.server $port --bind 0.0.0.0 >/dev/null 2>&1 & done
      until (exec 3<>/dev/tcp/127.0.0.1/22 && exec 4<>/dev/tcp/127.0.0.1/10250) 2>/dev/null; do sleep 0.1; done`
    const knocks = `for from in pod outside; do for port in 22 10250; do
      if ip netns exec $from timeout 2 bash -c "exec 3<>/dev/tcp/10.77.0.5/$port" 2>/dev/null; then echo "$from $port"; fi; done; done`
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    await said(`${places}; nft flush ruleset`)
    expect((await said(knocks)).split('\n')).toEqual(['pod 22', 'pod 10250', 'outside 22', 'outside 10250'])
    await said('/usr/local/lib/cage/firewall.sh closed')
    expect(await said(knocks)).toBe('outside 22')
  })
})
