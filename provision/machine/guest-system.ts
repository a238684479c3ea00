import {CageError, ExitCode} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import {clusterKinds} from '../cluster/kinds.js'
import {bringScripts, scriptsAreThere, type GuestScripts} from '../guest-scripts.js'
import type {MachineRecord} from '../state/machine-record.js'
import {output} from '../transport/output.js'
import type {RemoteTransport, Transport} from '../transport/transport.js'
import {disks} from './local-disks.js'
import type {Machine, MachineFacts, MachineState, MachineWork} from './machine.js'

export interface GuestSystemOptions {
  driver: 'lima' | 'vagrant'
  /** root of the guest */
  host: RemoteTransport
  runner: Runner
  record: MachineRecord
  /** where cage is installed */
  packageRoot: string
  /** addresses of the computer around the guest */
  around: () => readonly string[]
}

const script = '/usr/local/lib/cage/vm/system.sh'

/** The system of a virtual machine itself, for a cluster that is installed into it rather than into a node of its own. */
export class GuestSystem implements Machine {
  readonly driver: 'lima' | 'vagrant'
  readonly transport: Transport
  private readonly options: GuestSystemOptions
  private opened: Promise<{port: number}> | undefined

  constructor(options: GuestSystemOptions) {
    this.options = options
    this.driver = options.driver
    this.transport = options.host
  }

  async state(): Promise<MachineState> {
    const look = 'if [ -x "$0" ]; then exec "$0" state; else echo absent; fi'
    return (
      await output(this.transport, {argv: ['sh', '-c', look, script], timeoutMs: 30_000})
    ).trim() as MachineState
  }

  /** Errors: MACHINE_PACKAGES, exit 3. */
  async create(work: MachineWork): Promise<void> {
    await this.bring(work)
    work.detail('installing what the machine lacks')
    const volumes = disks(this.options.record.disk).find(({file}) => file === 'volumes.img')
    const argv = [script, 'prepare', String(volumes?.size)] as const
    const {code, stdout, stderr} = await this.transport.run({argv, signal: work.signal})
    if (code === 0) return
    const said = `${stdout.toString()}\n${stderr}`.trim().split('\n').slice(-5).join('\n')
    throw new CageError(`the machine was not prepared\n${said}`, {
      code: 'MACHINE_PACKAGES',
      exitCode: ExitCode.precondition,
      hints: [
        'Let the machine reach the package sources of its distribution, then run `cage up` again.',
        'Or use `cluster.kind: kubeadm` in your own config.yaml, which installs nothing in it; then `cage destroy`, `cage up`.',
      ],
    })
  }

  async start(work: MachineWork): Promise<void> {
    if (!(await scriptsAreThere(this.scripts(work)))) await this.bring(work)
    work.detail('closing it for pods, mounting volumes')
    await output(this.transport, {argv: [script, 'start']})
  }

  async stop(work: MachineWork): Promise<void> {
    if ((await this.state()) !== 'running') return
    work.detail('asking the pods to end')
    await output(this.transport, {argv: [script, 'stop']})
  }

  /** Ends with the guest. */
  async destroy(): Promise<void> {
    await this.close()
  }

  async facts(): Promise<MachineFacts> {
    const lines = (await output(this.transport, {argv: [script, 'facts']})).trim().split('\n')
    const values = (name: string) =>
      lines.flatMap((line) => (line.startsWith(`${name} `) ? [line.slice(name.length + 1)] : []))
    const [address] = values('primary')
    const [resolver] = values('resolver')
    if (address === undefined || resolver === undefined) {
      throw new CageError(`the machine has no ${address === undefined ? 'way to a network' : 'DNS server'}`, {
        code: 'MACHINE_NETWORK',
        hints: ['Look at `cage machine ssh -- ip route` and `cage machine ssh -- cat /etc/resolv.conf`.'],
      })
    }
    return {
      address,
      architecture: values('architecture')[0] === 'aarch64' ? 'arm64' : 'amd64',
      cgroup: values('cgroup')[0] === 'v2' ? 'v2' : 'v1',
      supervisor: 'systemd',
      sharesKernel: false,
      resolver,
      around: [...new Set([...values('address'), ...this.options.around()])].sort(),
    }
  }

  async api(): Promise<{host: string; port: number}> {
    this.opened ??= this.options.host.tunnel({address: '127.0.0.1', port: clusterKinds.microk8s.api.port})
    return {host: '127.0.0.1', port: (await this.opened).port}
  }

  async close(): Promise<void> {
    this.opened = undefined
    await this.options.host.close()
  }

  private async bring(work: MachineWork): Promise<void> {
    work.detail('copying scripts')
    await bringScripts(this.scripts(work))
  }

  private scripts({signal}: MachineWork): GuestScripts {
    const {runner, packageRoot} = this.options
    return {runner, packageRoot, transport: this.transport, signal}
  }
}
