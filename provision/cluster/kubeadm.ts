import {createReadStream} from 'node:fs'
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {pipeline} from 'node:stream/promises'
import type {Clock} from '../../core/clock.js'
import {CageError} from '../../core/errors.js'
import {imagePrefix, type NodeParts} from '../machine/local-build.js'
import type {Machine, MachineWork} from '../machine/machine.js'
import {output} from '../transport/output.js'
import type {MachineRecord} from '../state/machine-record.js'
import {mustRenew} from './certificates.js'
import type {ClusterInstaller, ClusterState, ClusterUpkeep} from './cluster.js'
import {kubeadmConfiguration} from './kubeadm-configuration.js'
import {renamed} from './kubeconfig.js'
import {demandUpgrade} from './kubernetes-version.js'

export interface KubeadmOptions {
  machine: Machine
  record: MachineRecord
  clock: Clock
  /** the Kubernetes that this cage brings, e.g. `v1.36.3` */
  kubernetes: string
  /** the images of the control plane */
  parts(work: MachineWork): Promise<NodeParts>
  /** cage's seccomp profile, JSON text */
  seccomp: string
}

const scripts = '/usr/local/lib/cage'

/** A single-node cluster made by kubeadm, with images and programs that cage brought along. */
export class KubeadmCluster implements ClusterInstaller {
  readonly kind = 'kubeadm'
  readonly upkeep: ClusterUpkeep = {
    outdated: async (signal) => {
      const {kubernetes} = this.options
      const {programs, cluster} = await this.versions(signal)
      return programs !== kubernetes || (cluster ?? kubernetes) !== kubernetes
    },
    upgrade: (work) => this.upgrade(work),
    mend: (work) => this.mend(work),
  }
  private readonly options: KubeadmOptions

  constructor(options: KubeadmOptions) {
    this.options = options
  }

  async state(signal?: AbortSignal): Promise<ClusterState> {
    return (await this.ask('state', signal)) as ClusterState
  }

  async install(work: MachineWork): Promise<void> {
    if ((await this.state(work.signal)) !== 'absent') return
    await this.prepare(await this.options.parts(work), work)
    work.detail('kubeadm init')
    await this.ask('install', work.signal)
  }

  /** The node starts from the new Kubernetes; its kubelet waits until the control plane is written anew. */
  private async upgrade(work: MachineWork): Promise<string> {
    const {machine, kubernetes} = this.options
    const {programs, cluster} = await this.versions(work.signal)
    if (cluster !== undefined) demandUpgrade(cluster, kubernetes)
    const parts = await this.options.parts(work)
    if (programs !== kubernetes) {
      await machine.stop(work)
      await machine.start(work)
    }
    if (cluster === undefined || cluster === kubernetes) return `started from Kubernetes ${kubernetes}`
    const images = await this.prepare(parts, work)
    work.detail(`from Kubernetes ${cluster} to ${kubernetes}`)
    await this.ask('upgrade', work.signal, images)
    return `from Kubernetes ${cluster} to ${kubernetes}`
  }

  private async mend(work: MachineWork): Promise<string | undefined> {
    const text = await this.ask('certificates', work.signal)
    if (!mustRenew(text, this.options.clock.now())) return undefined
    work.detail('renewing certificates')
    await this.ask('renew', work.signal)
    return 'certificates renewed'
  }

  private async versions(signal: AbortSignal): Promise<{programs?: string; cluster?: string}> {
    const [programs, cluster] = (await this.ask('versions', signal)).split(' ')
    return {...(programs === undefined ? {} : {programs}), ...(cluster === undefined ? {} : {cluster})}
  }

  private async ask(action: string, signal?: AbortSignal, args: readonly string[] = []): Promise<string> {
    const argv = [`${scripts}/cluster.sh`, action, ...args] as const
    return (await output(this.options.machine.transport, {argv, ...(signal ? {signal} : {})})).trim()
  }

  /** Images and configuration are on the machine; the images' names. */
  private async prepare(parts: NodeParts, work: MachineWork): Promise<string[]> {
    const {transport} = this.options.machine
    const images = await importControlPlane(this.options.machine, parts, work)
    await transport.writeFile('/var/lib/kubelet/seccomp/cage.json', this.options.seccomp, '0644')
    await transport.writeFile('/etc/kubernetes/cage/kubeadm.yaml', await this.configuration(parts), '0600')
    return images
  }

  async kubeconfig(): Promise<string> {
    const {machine, record} = this.options
    const text = await output(machine.transport, {argv: ['cat', '/etc/kubernetes/admin.conf']})
    return renamed(text, record.id)
  }

  private async configuration(parts: NodeParts): Promise<string> {
    const {machine, record} = this.options
    if (!record.network)
      throw new CageError('the record of the machine names no network', {code: 'STATE_DAMAGED'})
    const facts = await machine.facts()
    const seen = await output(machine.transport, {argv: ['sh', '-c', 'nproc; grep MemTotal /proc/meminfo']})
    const [cpus = '1', memory = ''] = seen.trim().split('\n')
    return kubeadmConfiguration({
      node: `cage-${record.id}`,
      network: record.network,
      kubernetes: parts.versions['kubernetes'] ?? '',
      etcd: parts.versions['etcd'] ?? '',
      imagePrefix,
      cgroup: facts.cgroup,
      supervisor: facts.supervisor,
      seen: {memory: Number(/\d+/.exec(memory)?.[0] ?? 0) * 1024, cpus: Number(cpus)},
      allowed: {memory: record.memory, cpus: record.cpus},
    })
  }
}

/** The images of the control plane that the machine does not have yet are imported; the names of all. Errors: IMAGE_IMPORT. */
export async function importControlPlane(
  machine: Machine,
  parts: NodeParts,
  work: MachineWork,
): Promise<string[]> {
  const {signal} = work
  work.detail('waiting for containerd')
  const wait = [`${scripts}/wait-for-containerd.sh`] as const
  await output(machine.transport, {argv: wait, signal, timeoutMs: 60_000})
  const references = (await readFile(join(parts.images, 'references'), 'utf8')).trim().split('\n')
  const missing = await output(machine.transport, {argv: [`${scripts}/images.sh`, 'missing', ...references]})
  for (const reference of missing.split('\n').filter((line) => line !== '')) {
    const name = /\/([^/:]+):/.exec(reference)?.[1] ?? ''
    work.detail(`importing ${name}`)
    await importImage(machine, reference, join(parts.images, `${name}.tar`), signal)
  }
  return references
}

/** Pours a docker-archive into containerd and pins it. Errors: IMAGE_IMPORT. */
export async function importImage(
  machine: Machine,
  reference: string,
  tar: string,
  signal: AbortSignal,
): Promise<void> {
  const command = await machine.transport.start({argv: [`${scripts}/import-image.sh`, reference], signal})
  let said = ''
  command.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4096)))
  command.stdout.resume()
  await pipeline(createReadStream(tar), command.stdin).catch(() => undefined)
  if ((await command.exit) === 0) return
  throw new CageError(`cannot import ${reference}: ${said.trim().split('\n').at(-1) ?? ''}`, {
    code: 'IMAGE_IMPORT',
  })
}
