import {join} from 'node:path'
import type {Clock} from '../../core/clock.js'
import {CageError, ExitCode} from '../../core/errors.js'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import {contentHash} from '../build-cache.js'
import {tar} from '../images/tar.js'
import type {MachineRecord, ProjectNetwork} from '../state/machine-record.js'
import {enteredTransport} from '../transport/entered.js'
import {output} from '../transport/output.js'
import type {RemoteTransport, Transport} from '../transport/transport.js'
import {copyLayers, layerArchives} from './layer-archives.js'
import {imagePrefix, nodeParts, type NodeParts} from './local-build.js'
import {disks} from './local-disks.js'
import {linkName} from './local.js'
import type {Machine, MachineFacts, MachineState, MachineWork} from './machine.js'
import {cniConfiguration, containerdConfiguration} from './node-configuration.js'

export interface RemoteNodeOptions {
  driver: Machine['driver']
  /** root of the Linux system in whose namespaces the node runs */
  host: RemoteTransport
  runner: Runner
  clock: Clock
  record: MachineRecord
  /** where cage is installed: holds provision/guest and images/ */
  packageRoot: string
  /** `$XDG_CACHE_HOME/cage`, on this computer */
  cache: string
  /** addresses at which that system is known from outside, e.g. the public one of a cloud server */
  knownAs?: () => Promise<readonly string[]>
}

/** Everything that cage keeps on a server. */
export const serverDirectory = '/var/lib/cage'

const READY_AFTER_MS = 60_000
const REPAIRED_AFTER_MS = 10_000
const API_PORT = 6443
const MIB = 1024 ** 2
const ROOM_MIB = 1024
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** 2025-01-01: the configuration's time, so that the same gives the same bytes. */
const EPOCH = 1735689600

/**
 * The node of machine `local`, in the namespaces of another Linux system: a server, or the guest of a virtual machine. What
 * it starts from is built on this computer and copied there once. All of it is in one directory there, and nothing is
 * installed: programs that the server may lack are called out of the node's own layer.
 */
export class RemoteNode implements Machine {
  readonly driver: Machine['driver']
  readonly transport: Transport
  private readonly options: RemoteNodeOptions
  private readonly network: ProjectNetwork
  /** of this project, on the server */
  private readonly place: string
  private known: Promise<MachineFacts> | undefined
  private opened: Promise<{port: number}> | undefined

  constructor(options: RemoteNodeOptions) {
    const {network, id} = options.record
    if (!network) throw new CageError('the record of the machine names no network', {code: 'STATE_DAMAGED'})
    this.options = options
    this.driver = options.driver
    this.network = network
    this.place = `${serverDirectory}/${id}`
    this.transport = enteredTransport(options.host, this.script('node/enter.sh'))
  }

  async state(): Promise<MachineState> {
    const script = 'if [ -x "$0" ]; then exec env "$@" "$0"; else echo absent; fi'
    const argv = ['sh', '-c', script, `${this.place}/guest/node/state.sh`, ...this.environment()] as const
    return (await output(this.options.host, {argv, timeoutMs: 30_000})).trim() as MachineState
  }

  async create(work: MachineWork): Promise<void> {
    await this.bring(work)
    work.detail('making its disks')
    const wanted = disks(this.options.record.disk)
    const args = wanted.map(({file, size, reserved}) => `${file}:${size}${reserved ? ':reserved' : ''}`)
    await this.do('node/disks.sh', args, work)
  }

  async start(work: MachineWork): Promise<void> {
    if ((await this.state()) === 'broken') {
      work.detail('repairing')
      await this.do('node/start.sh', [], work)
      if (await this.readySoon(work.signal, REPAIRED_AFTER_MS)) return
      work.detail('its last start was cut off: starting over')
      await this.do('node/stop.sh', ['--now'], work)
    }
    const {layers, parts} = await this.bring(work)
    if ((await this.state()) !== 'running') await this.layOutFiles(parts, work)
    await this.demandRoom(work)
    work.detail('starting')
    await this.do('node/start.sh', [], work, [`${this.place}/machine/files`, ...layers])
    if (await this.readySoon(work.signal, READY_AFTER_MS)) {
      await output(this.options.host, {argv: [...this.script('node/layers.sh'), 'tidy'] as const})
      return
    }
    const {stdout} = await this.options.host.run({
      argv: ['tail', '-n', '5', `${this.place}/machine/node.log`],
    })
    const log = stdout.toString().trim()
    throw new CageError(`the node did not start${log ? `:\n${log}` : ''}`, {
      code: 'MACHINE_NOT_STARTED',
      hints: [`Read ${this.place}/machine/node.log on the server.`, 'Run `cage up` again.'],
    })
  }

  async stop(work: MachineWork): Promise<void> {
    if ((await this.state()) === 'absent') return
    work.detail('asking the pods to end')
    await this.do('node/stop.sh', [], work)
  }

  /**
   * Stops the node and leaves on the system's disk only what is nobody's; then that system powers itself off. `login` is a
   * user there and the key it gets instead of those it has. Only for a guest that is nothing but cage's.
   */
  async seal(work: MachineWork, login?: {user: string; key: string}): Promise<void> {
    await this.stop(work)
    work.detail('removing what is its own')
    const {record} = this.options
    await this.do('vm/seal.sh', [record.id, ...(login ? [login.user, login.key] : [])], work)
  }

  async destroy(work: MachineWork): Promise<void> {
    work.detail('stopping')
    await this.bringScripts(work)
    await this.do('node/remove.sh', [], work)
  }

  facts(): Promise<MachineFacts> {
    this.known ??= this.ask()
    return this.known
  }

  async api(): Promise<{host: string; port: number}> {
    this.opened ??= this.options.host.tunnel({address: withoutPrefix(this.network.machine), port: API_PORT})
    return {host: '127.0.0.1', port: (await this.opened).port}
  }

  async close(): Promise<void> {
    this.opened = undefined
    await this.options.host.close()
  }

  /** What the node starts from, on this computer. */
  parts(work: MachineWork): Promise<NodeParts> {
    const {runner, packageRoot, cache, clock} = this.options
    return nodeParts(runner, packageRoot, {directory: cache, clock, ...work})
  }

  private async ask(): Promise<MachineFacts> {
    const {host, knownAs} = this.options
    const argv = [`${this.place}/guest/node/facts.sh`] as const
    const first = await host.run({argv})
    // An older cage may have made the machine: its scripts know less.
    if (first.code !== 0)
      await this.bringScripts({signal: new AbortController().signal, detail: () => undefined})
    const text = first.code === 0 ? first.stdout.toString() : await output(host, {argv})
    const said = text.trim().split('\n')
    const value = (name: string) =>
      said.flatMap((line) => (line.startsWith(`${name} `) ? [line.slice(name.length + 1)] : []))
    return {
      address: withoutPrefix(this.network.machine),
      architecture: value('architecture')[0] === 'aarch64' ? 'arm64' : 'amd64',
      cgroup: value('cgroup')[0] === 'v2' ? 'v2' : 'v1',
      supervisor: 'runit',
      sharesKernel: false,
      // slirp4netns answers there and asks whatever the server asks.
      resolver: '10.0.2.3',
      around: [...new Set([...value('address'), ...((await knownAs?.()) ?? [])])].sort(),
    }
  }

  /** Scripts, layers and tools are on the server; the layers' directories there, topmost first. */
  private async bring(work: MachineWork): Promise<{layers: string[]; parts: NodeParts}> {
    const {runner, host, clock, cache} = this.options
    const parts = await this.parts(work)
    const archives = await layerArchives(runner, parts.layers, {directory: cache, clock, ...work})
    await this.bringScripts(work)
    const layers = (...args: string[]) => [...this.script('node/layers.sh'), ...args] as [string, ...string[]]
    await copyLayers(host, layers, archives, work)
    const root = archives.at(-1)?.sum ?? ''
    await output(host, {argv: layers('tools', root), signal: work.signal})
    return {layers: archives.map(({sum}) => `${serverDirectory}/layers/${sum}`), parts}
  }

  private async bringScripts({signal}: MachineWork): Promise<void> {
    const {runner, host, packageRoot} = this.options
    const guest = join(packageRoot, 'provision/guest')
    const content = await contentHash([guest], [])
    const there = await host.run({argv: ['cat', `${this.place}/guest/.content`], signal})
    if (there.code === 0 && there.stdout.toString() === content) return
    const archive = await runOk(runner, {argv: ['tar', '-C', guest, '-c', '.'], signal})
    const script = `set -e; umask 077; mkdir -p "$1/machine"; cd "$1"; rm -rf guest.new; mkdir -m 0755 guest.new
      tar -C guest.new --no-same-owner -xf -; printf %s "$2" >guest.new/.content; rm -rf guest; mv guest.new guest`
    await output(host, {argv: ['sh', '-c', script, 'sh', this.place, content], input: archive, signal})
  }

  private async layOutFiles(parts: NodeParts, {signal}: MachineWork): Promise<void> {
    const pause = `${imagePrefix}/pause:${parts.versions['kubernetes'] ?? ''}`
    const file = (path: string, text: string) =>
      ({kind: 'file', path, mode: 0o644, content: Buffer.from(text)}) as const
    const entries = [
      file('etc/containerd/config.toml', containerdConfiguration(pause)),
      file('etc/cni/net.d/10-cage.conflist', cniConfiguration(this.network.pods)),
    ]
    const chunks: Buffer[] = []
    for await (const chunk of tar(entries, EPOCH)) chunks.push(chunk)
    const argv = [...this.script('node/files.sh'), `${this.place}/guest`] as [string, ...string[]]
    await output(this.options.host, {argv, input: Buffer.concat(chunks), signal})
  }

  /** A node whose disks cannot grow loses what is written to them: it is not started. */
  private async demandRoom({signal}: MachineWork): Promise<void> {
    const argv = ['stat', '-f', '-c', '%a %S', this.place] as const
    const [blocks = 0, size = 0] = (await output(this.options.host, {argv, signal})).split(' ').map(Number)
    const free = Math.floor((blocks * size) / MIB)
    if (free >= ROOM_MIB) return
    throw new CageError(`the disk of the server is full: ${free} MiB are free at ${serverDirectory}`, {
      code: 'DISK_FULL',
      exitCode: ExitCode.precondition,
      hints: [`Free ${ROOM_MIB} MiB or more there, then run \`cage up\` again.`],
    })
  }

  private async readySoon(signal: AbortSignal, withinMs: number): Promise<boolean> {
    const {clock} = this.options
    const end = clock.now() + withinMs
    for (;;) {
      const state = await this.state()
      if (state === 'running') return true
      if (state !== 'broken' || clock.now() >= end) return false
      await clock.sleep(200, signal)
    }
  }

  /** The node's scripts are never interrupted: each is short and leaves a whole state. */
  private async do(
    name: string,
    args: readonly string[],
    {signal}: MachineWork,
    layers: readonly string[] = [],
  ): Promise<void> {
    signal.throwIfAborted()
    const argv = [...this.script(name, layers), ...args] as [string, ...string[]]
    await output(this.options.host, {argv})
  }

  private script(name: string, layers: readonly string[] = []): [string, ...string[]] {
    return ['env', ...this.environment(layers), `${this.place}/guest/${name}`]
  }

  private environment(layers: readonly string[] = []): string[] {
    const {record} = this.options
    return [
      `PATH=${this.place}/bin:${systemPath}`,
      `CAGE_NODE_DIR=${this.place}/machine`,
      `CAGE_NODE_NAME=cage-${record.id}`,
      `CAGE_NODE_LINK=${linkName(record.id)}`,
      `CAGE_NODE_HOST=${this.network.host}`,
      `CAGE_NODE_ADDRESS=${this.network.machine}`,
      `CAGE_NODE_LAYERS=${layers.join(':')}`,
      `CAGE_NODE_MEMORY=${record.memory}`,
      `CAGE_NODE_CPUS=${record.cpus}`,
    ]
  }
}

function withoutPrefix(cidr: string): string {
  return cidr.split('/')[0] ?? cidr
}
