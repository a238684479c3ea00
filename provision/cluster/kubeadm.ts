import {createReadStream} from 'node:fs'
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {pipeline} from 'node:stream/promises'
import {CageError} from '../../core/errors.js'
import {imagePrefix, type NodeParts} from '../machine/local-build.js'
import type {Machine, MachineWork} from '../machine/machine.js'
import {output} from '../transport/output.js'
import type {MachineRecord} from '../state/machine-record.js'
import type {ClusterInstaller, ClusterState} from './cluster.js'
import {kubeadmConfiguration} from './kubeadm-configuration.js'
import {renamed} from './kubeconfig.js'

export interface KubeadmOptions {
  machine: Machine
  record: MachineRecord
  /** the images of the control plane */
  parts(work: MachineWork): Promise<NodeParts>
  /** cage's seccomp profile, JSON text */
  seccomp: string
}

const scripts = '/usr/local/lib/cage'

/** A single-node cluster made by kubeadm, with images and programs that cage brought along. */
export class KubeadmCluster implements ClusterInstaller {
  readonly kind = 'kubeadm'
  private readonly options: KubeadmOptions

  constructor(options: KubeadmOptions) {
    this.options = options
  }

  async state(signal?: AbortSignal): Promise<ClusterState> {
    const {transport} = this.options.machine
    const text = await output(transport, {
      argv: [`${scripts}/cluster.sh`, 'state'],
      ...(signal ? {signal} : {}),
    })
    return text.trim() as ClusterState
  }

  async install(work: MachineWork): Promise<void> {
    const {transport} = this.options.machine
    if ((await this.state(work.signal)) !== 'absent') return
    const parts = await this.options.parts(work)
    work.detail('waiting for containerd')
    await output(transport, {
      argv: [`${scripts}/wait-for-containerd.sh`],
      signal: work.signal,
      timeoutMs: 60_000,
    })
    await this.importImages(parts, work)
    await transport.writeFile('/var/lib/kubelet/seccomp/cage.json', this.options.seccomp, '0644')
    await transport.writeFile('/etc/kubernetes/cage/kubeadm.yaml', await this.configuration(parts), '0600')
    work.detail('kubeadm init')
    await output(transport, {argv: [`${scripts}/cluster.sh`, 'install'], signal: work.signal})
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

  private async importImages(parts: NodeParts, work: MachineWork): Promise<void> {
    const {transport} = this.options.machine
    const references = (await readFile(join(parts.images, 'references'), 'utf8')).trim().split('\n')
    const missing = await output(transport, {argv: [`${scripts}/images.sh`, 'missing', ...references]})
    for (const reference of missing.split('\n').filter((line) => line !== '')) {
      const name = /\/([^/:]+):/.exec(reference)?.[1] ?? ''
      work.detail(`importing ${name}`)
      await importImage(this.options.machine, reference, join(parts.images, `${name}.tar`), work.signal)
    }
  }
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
