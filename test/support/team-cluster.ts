import {readFileSync} from 'node:fs'
import {mkdir, writeFile} from 'node:fs/promises'
import {join, resolve} from 'node:path'
import {parse, stringify} from 'yaml'
import {systemClock} from '../../core/clock.js'
import {processRunner, runOk} from '../../core/process.js'
import {KubeadmCluster, importImage} from '../../provision/cluster/kubeadm.js'
import type {NodeParts} from '../../provision/machine/local-build.js'
import {LocalMachine} from '../../provision/machine/local.js'
import type {MachineWork} from '../../provision/machine/machine.js'
import type {MachineRecord, ProjectNetwork} from '../../provision/state/machine-record.js'
import {output} from '../../provision/transport/output.js'

const GiB = 1024 ** 3
const packageRoot = resolve('.')

/** What both nodes see; a local volume in it can be used on either of them. */
export const sharedFolder = '/var/lib/cage/volumes/shared'

/**
 * A team's Kubernetes with two kubelets on this computer: two nodes in namespaces, a cable between them, a disk that both
 * mount, and nothing of a cage in front of their pods. Whoever runs it is its administrator.
 */
export class TeamCluster {
  readonly nodes: readonly [LocalMachine, LocalMachine]
  readonly names: readonly [string, string]
  /** an address of this computer that both nodes reach */
  readonly computer: string
  private readonly directory: string
  private readonly installer: KubeadmCluster
  private readonly records: readonly [MachineRecord, MachineRecord]
  private readonly work: MachineWork = {signal: new AbortController().signal, detail: () => undefined}
  private loop: string | undefined

  /** @param second of both nodes' networks: 10.N.0.0/16 and 10.(N+1).0.0/16 must be free */
  constructor(directory: string, cache: string, second: number) {
    this.directory = directory
    const pods = `10.${second}.64.0`
    const [first, other] = [networkOf(second, `${pods}/19`), networkOf(second + 1, `10.${second}.96.0/19`)]
    this.records = [record('team-00000001', first), record('team-00000002', other)]
    const machine = (index: 0 | 1) =>
      new LocalMachine({
        runner: processRunner,
        clock: systemClock,
        record: this.records[index],
        directory: join(directory, `node${index + 1}`),
        packageRoot,
        cache,
      })
    this.nodes = [machine(0), machine(1)]
    this.names = [`cage-${this.records[0].id}`, `cage-${this.records[1].id}`]
    this.computer = `10.${second}.0.1`
    this.installer = new KubeadmCluster({
      machine: this.nodes[0],
      // The pods of both nodes are the cluster's.
      record: record('team-00000001', {...first, pods: `${pods}/18`}),
      clock: systemClock,
      // It is never upgraded.
      kubernetes: '',
      parts: (work) => this.nodes[0].parts(work),
      seccomp: readFileSync('provision/guest/seccomp/cage.json', 'utf8'),
    })
  }

  /** @param authority PEM of a CA that the nodes' registries may have, besides the usual ones */
  async start(authority: string): Promise<void> {
    for (const node of this.nodes) {
      await node.create(this.work)
      await node.start(this.work)
    }
    await this.cable()
    await this.disk()
    for (const node of this.nodes) {
      await this.run(
        node,
        `cat >>/etc/ssl/certs/ca-certificates.crt
        /usr/local/lib/cage/wait-for-containerd.sh
        sv restart /run/sv/containerd`,
        authority,
      )
      await this.run(
        node,
        `nft delete table inet cage
        nft 'table inet team { chain out { type nat hook postrouting priority srcnat; oifname "tap0" masquerade; }; }'`,
      )
    }
    await this.installer.install(this.work)
    await this.join(await this.nodes[0].parts(this.work))
  }

  /** A kubeconfig with one context `team`. */
  async kubeconfig(): Promise<string> {
    const path = join(this.directory, 'kubeconfig')
    const config = parse(await this.installer.kubeconfig()) as {contexts: {name: string}[]}
    for (const context of config.contexts) context.name = 'team'
    await writeFile(path, stringify({...config, 'current-context': 'team'}), {mode: 0o600})
    return path
  }

  /** A shell script as root on a node; its output. */
  async run(node: LocalMachine, script: string, input?: string): Promise<string> {
    const argv = ['bash', '-ec', script] as const
    const {code, stdout, stderr} = await node.transport.run({argv, ...(input === undefined ? {} : {input})})
    if (code !== 0) throw new Error(`on a node: ${script} → ${code}\n${stdout.toString()}\n${stderr}`)
    return stdout.toString()
  }

  async kubectl(command: string): Promise<string> {
    return this.run(this.nodes[0], `kubectl ${command}`)
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) await node.destroy(this.work)
    if (this.loop !== undefined) await runOk(processRunner, {argv: ['losetup', '-d', this.loop]})
  }

  /** Each node's way to the other and its pods; their ways out are their own. */
  private async cable(): Promise<void> {
    const [one, two] = this.nodes
    const [first = '', second = ''] = ['node1', 'node2'].map(
      (name) => readFileSync(join(this.directory, name, 'node.pid'), 'utf8').split(' ')[0],
    )
    await runOk(processRunner, {
      argv: ['ip', 'link', 'add', 'team0', 'netns', first, 'type', 'veth', 'peer', 'team0', 'netns', second],
    })
    for (const [node, index] of [
      [one, 0],
      [two, 1],
    ] as const) {
      const own = this.records[index].network
      const far = this.records[1 - index]?.network
      const via = `via 169.254.77.${2 - index} dev team0 src ${withoutPrefix(own?.machine)}`
      await this.run(
        node,
        `ip addr add 169.254.77.${index + 1}/30 dev team0
        ip link set team0 up
        ip route add ${withoutPrefix(far?.machine)}/32 ${via}
        ip route add ${far?.pods ?? ''} ${via}`,
      )
    }
  }

  /** One kernel has one file system, however often its device is mounted. */
  private async disk(): Promise<void> {
    const image = join(this.directory, 'shared.img')
    await mkdir(this.directory, {recursive: true})
    await runOk(processRunner, {argv: ['truncate', '--size', String(40 * GiB), image]})
    await runOk(processRunner, {argv: ['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=1,nodiscard', image]})
    const device = await runOk(processRunner, {argv: ['losetup', '--find', '--show', image]})
    this.loop = device.toString().trim()
    const minor = this.loop.replace('/dev/loop', '')
    for (const node of this.nodes) {
      await this.run(
        node,
        `[ -e ${this.loop} ] || mknod -m 600 ${this.loop} b 7 ${minor}
        mkdir -p ${sharedFolder}
        mount -o noatime,nosuid,nodev ${this.loop} ${sharedFolder}`,
      )
    }
  }

  private async join(parts: NodeParts): Promise<void> {
    const [one, two] = this.nodes
    await output(two.transport, {argv: ['/usr/local/lib/cage/wait-for-containerd.sh'], timeoutMs: 60_000})
    for (const name of ['pause', 'kube-proxy']) {
      const references = readFileSync(join(parts.images, 'references'), 'utf8').split('\n')
      const reference = references.find((line) => line.includes(`/${name}:`)) ?? ''
      await importImage(two, reference, join(parts.images, `${name}.tar`), this.work.signal)
    }
    const command = await this.run(one, 'kubeadm token create --print-join-command')
    const [, server = '', token = '', hash = ''] =
      /^kubeadm join (\S+) --token (\S+) --discovery-token-ca-cert-hash (\S+)/.exec(command) ?? []
    const configuration = {
      apiVersion: 'kubeadm.k8s.io/v1beta4',
      kind: 'JoinConfiguration',
      discovery: {bootstrapToken: {apiServerEndpoint: server, token, caCertHashes: [hash]}},
      nodeRegistration: {
        name: this.names[1],
        criSocket: 'unix:///run/containerd/containerd.sock',
        imagePullPolicy: 'Never',
        kubeletExtraArgs: [{name: 'node-ip', value: withoutPrefix(this.records[1].network?.machine)}],
      },
    }
    await this.run(
      two,
      `cat >/run/join.yaml
      kubeadm join --config /run/join.yaml --ignore-preflight-errors=SystemVerification`,
      stringify(configuration),
    )
    await this.kubectl(`wait --for=condition=Ready node/${this.names[1]} --timeout=120s`)
  }
}

function networkOf(second: number, pods: string): ProjectNetwork {
  const at = (rest: string) => `10.${second}.${rest}`
  return {range: at('0.0/16'), host: at('0.1/30'), machine: at('0.2/30'), pods, services: at('128.0/18')}
}

function record(id: string, network: ProjectNetwork): MachineRecord {
  return {
    version: 1,
    id,
    project: 'team',
    repository: '',
    driver: 'local',
    cluster: 'kubeadm',
    cpus: 2,
    memory: 6 * GiB,
    disk: 40 * GiB,
    network,
  }
}

function withoutPrefix(cidr = ''): string {
  return cidr.split('/')[0] ?? ''
}
