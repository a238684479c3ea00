import {createHash} from 'node:crypto'
import {access, rm, stat} from 'node:fs/promises'
import {join} from 'node:path'
import {networkInterfaces} from 'node:os'
import type {Clock} from '../../core/clock.js'
import {CageError} from '../../core/errors.js'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import {readIfThere} from '../state/files.js'
import type {MachineRecord, ProjectNetwork} from '../state/machine-record.js'
import {livingProcess} from '../state/process-identity.js'
import {namespaceTransport} from '../transport/namespace.js'
import type {Transport} from '../transport/transport.js'
import {imagePrefix, nodeParts, type NodeParts} from './local-build.js'
import {createDisks, disks} from './local-disks.js'
import {layOutFiles} from './local-files.js'
import type {Machine, MachineFacts, MachineState, MachineWork} from './machine.js'

export interface LocalMachineOptions {
  runner: Runner
  clock: Clock
  record: MachineRecord
  /** `machine/` of the project's state directory */
  directory: string
  /** where cage is installed: holds provision/guest and images/ */
  packageRoot: string
  /** `$XDG_CACHE_HOME/cage` */
  cache: string
}

const READY_AFTER_MS = 30_000
/** Its start came to its end, and none of its disks has lost a write and takes no more. The same as in node/state.sh. */
const nodeIsReady = [
  'sh',
  '-c',
  'test -e /run/cage/ready && ! grep -qE "$0" /proc/1/mountinfo',
  ' /var/lib/(etcd|containerd|cage/images) .* - ext4 [^ ]+ (ro|.*,emergency_ro|.*,shutdown)(,|$)',
] as const
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * A node in Linux namespaces of this computer with a root file system, disks and network of its own.
 * It has the computer's kernel and its real root: an escape from a pod reaches the computer.
 */
export class LocalMachine implements Machine {
  readonly driver = 'local'
  readonly transport: Transport
  private readonly options: LocalMachineOptions
  private readonly network: ProjectNetwork

  constructor(options: LocalMachineOptions) {
    const {network} = options.record
    if (!network) throw new CageError('the record of the machine names no network', {code: 'STATE_DAMAGED'})
    this.options = options
    this.network = network
    this.transport = namespaceTransport(options.runner, () => this.firstProcess())
  }

  async state(): Promise<MachineState> {
    if ((await this.process('node.pid')) === undefined) return (await this.hasDisks()) ? 'stopped' : 'absent'
    const wayOut = await this.process('way-out.pid')
    return wayOut !== undefined && (await this.isReady()) ? 'running' : 'broken'
  }

  async create(work: MachineWork): Promise<void> {
    await this.parts(work)
    work.detail('making its disks')
    await createDisks(this.options.runner, this.options.directory, this.options.record.disk)
  }

  async start(work: MachineWork): Promise<void> {
    const running = (await this.process('node.pid')) !== undefined
    if (running && !(await this.readySoon(work.signal))) {
      work.detail('its last start was cut off: starting over')
      await this.script('stop.sh', ['--now'])
    }
    const {layers, versions} = await this.parts(work)
    const {directory, packageRoot, runner} = this.options
    const files = join(directory, 'files')
    if ((await this.process('node.pid')) === undefined) {
      const pause = `${imagePrefix}/pause:${versions['kubernetes'] ?? ''}`
      await layOutFiles(runner, files, {
        guest: join(packageRoot, 'provision/guest'),
        pods: this.network.pods,
        pause,
      })
    }
    work.detail('starting')
    await this.script('start.sh', [], [files, ...layers])
    if ((await this.readySoon(work.signal)) && (await this.state()) === 'running') return
    const log = ((await readIfThere(this.file('node.log'))) ?? '').trim().split('\n').slice(-5).join('\n')
    throw new CageError(`the node did not start${log ? `:\n${log}` : ''}`, {
      code: 'MACHINE_NOT_STARTED',
      hints: [`Read ${this.file('node.log')}.`, 'Run `cage doctor`.'],
    })
  }

  async stop(work: MachineWork): Promise<void> {
    if ((await this.state()) === 'absent') return
    work.detail('asking the pods to end')
    await this.script('stop.sh', [])
  }

  async destroy(work: MachineWork): Promise<void> {
    work.detail('stopping')
    await this.script('stop.sh', ['--now'])
    await rm(this.options.directory, {recursive: true, force: true})
  }

  async facts(): Promise<MachineFacts> {
    const unified = await access('/sys/fs/cgroup/cgroup.controllers').then(
      () => true,
      () => false,
    )
    return {
      address: withoutPrefix(this.network.machine),
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      cgroup: unified ? 'v2' : 'v1',
      supervisor: 'runit',
      sharesKernel: true,
      // slirp4netns answers there and asks whatever this computer asks.
      resolver: '10.0.2.3',
      around: computerAddresses(),
    }
  }

  api(): Promise<{host: string; port: number}> {
    return Promise.resolve({host: withoutPrefix(this.network.machine), port: 6443})
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** What the node starts from. */
  parts(work: MachineWork): Promise<NodeParts> {
    const {runner, packageRoot, cache, clock} = this.options
    return nodeParts(runner, packageRoot, {directory: cache, clock, ...work})
  }

  private file(name: string): string {
    return join(this.options.directory, name)
  }

  private async process(file: string): Promise<number | undefined> {
    const identity = await readIfThere(this.file(file))
    return identity === undefined ? undefined : livingProcess(identity)
  }

  private async firstProcess(): Promise<number> {
    const pid = await this.process('node.pid')
    if (pid !== undefined) return pid
    throw new CageError(`the machine of ${this.options.record.project} does not run`, {
      code: 'MACHINE_NOT_RUNNING',
      hints: ['Run `cage up`.'],
    })
  }

  private async hasDisks(): Promise<boolean> {
    const found = await Promise.all(disks(0).map(({file}) => stat(this.file(file)).catch(() => undefined)))
    return !found.includes(undefined)
  }

  private async isReady(): Promise<boolean> {
    try {
      return (await this.transport.run({argv: nodeIsReady, timeoutMs: 10_000})).code === 0
    } catch {
      return false
    }
  }

  private async readySoon(signal: AbortSignal): Promise<boolean> {
    const {clock} = this.options
    const end = clock.now() + READY_AFTER_MS
    while ((await this.process('node.pid')) !== undefined && clock.now() < end) {
      if (await this.isReady()) return true
      await clock.sleep(100, signal)
    }
    return false
  }

  /** Runs one of provision/guest/node/*.sh. They are never interrupted: each is short and leaves a whole state. */
  private async script(name: string, args: readonly string[], layers: readonly string[] = []): Promise<void> {
    const {runner, record, directory, packageRoot} = this.options
    await runOk(runner, {
      argv: [join(packageRoot, 'provision/guest/node', name), ...args],
      env: {
        PATH: systemPath,
        CAGE_NODE_DIR: directory,
        CAGE_NODE_NAME: `cage-${record.id}`,
        CAGE_NODE_LINK: linkName(record.id),
        CAGE_NODE_HOST: this.network.host,
        CAGE_NODE_ADDRESS: this.network.machine,
        CAGE_NODE_LAYERS: layers.join(':'),
        CAGE_NODE_MEMORY: String(record.memory),
        CAGE_NODE_CPUS: String(record.cpus),
      },
    })
  }
}

/** At most 14 characters, one more for its other end; two projects never share it. */
export function linkName(id: string): string {
  return `cage-${createHash('sha256').update(id).digest('hex').slice(0, 8)}`
}

/** Every IPv4 address of this computer but those of cage's own links: what pods must not reach through it. */
export function computerAddresses(): string[] {
  return Object.entries(networkInterfaces())
    .flatMap(([name, addresses]) => (name.startsWith('cage-') ? [] : (addresses ?? [])))
    .filter(({family, internal}) => family === 'IPv4' && !internal)
    .map(({address}) => address)
    .sort()
}

function withoutPrefix(cidr: string): string {
  return cidr.split('/')[0] ?? cidr
}
