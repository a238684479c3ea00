import {CageError, ExitCode} from '../../core/errors.js'
import type {Machine, MachineWork} from '../machine/machine.js'
import type {MachineRecord} from '../state/machine-record.js'
import {output} from '../transport/output.js'
import type {ClusterInstaller, ClusterState} from './cluster.js'
import {renamed} from './kubeconfig.js'
import {microk8sChannel, microk8sConfiguration} from './microk8s-configuration.js'
import {microk8sFailure} from './microk8s-failure.js'

export interface Microk8sOptions {
  /** all cage's: the snap is installed into its system */
  machine: Machine
  record: MachineRecord
  /** cage's seccomp profile, JSON text */
  seccomp: string
  /** how long to wait; default: for a first installation on a slow line */
  seconds?: Patience
}

/** Seconds until snapd takes orders, until the API server answers, until the node is ready. */
interface Patience {
  seeded: number
  api: number
  ready: number
}
const patient: Patience = {seeded: 300, api: 300, ready: 900}

const script = '/usr/local/lib/cage/microk8s.sh'
const seccompProfile = '/var/snap/microk8s/common/var/lib/kubelet/seccomp/cage.json'

/** What the person reads, and what microk8s.sh is asked for. */
type Wait = readonly [says: string, ...argv: string[]]

function waits(seconds: Patience) {
  return {
    seeded: ['waiting for snapd', 'seeded', String(seconds.seeded)],
    install: [`installing the snap microk8s, ${microk8sChannel}`, 'install', microk8sChannel],
    hold: ['holding the snap at its revision', 'hold'],
    start: ['starting what was stopped', 'start'],
    api: ['waiting for the API server', 'api', String(seconds.api)],
    network: ['setting up the network engine', 'network'],
    ready: ['waiting for the node and the network engine', 'ready', String(seconds.ready)],
    addons: ['switching off addons', 'addons'],
    complete: ['finishing', 'complete'],
  } as const satisfies Readonly<Record<string, Wait>>
}

/** A single-node cluster from the snap store, in a machine that is cage's own. */
export class Microk8sCluster implements ClusterInstaller {
  readonly kind = 'microk8s'
  private readonly options: Microk8sOptions

  constructor(options: Microk8sOptions) {
    this.options = options
  }

  async state(signal?: AbortSignal): Promise<ClusterState> {
    const {transport} = this.options.machine
    const text = await output(transport, {
      argv: [script, 'state'],
      timeoutMs: 60_000,
      ...(signal ? {signal} : {}),
    })
    return text.trim() as ClusterState
  }

  /** Errors: see microk8s-failure.ts. */
  async install(work: MachineWork): Promise<void> {
    const {transport} = this.options.machine
    const {seeded, install, hold, start, api, network, ready, addons, complete} = waits(
      this.options.seconds ?? patient,
    )
    const before = await this.state(work.signal)
    if (before === 'ready') return
    if (before === 'starting') {
      await this.pass([start, api, ready], work)
      return
    }
    await transport.writeFile('/etc/microk8s.yaml', microk8sConfiguration(), '0600')
    await this.pass([seeded, install], work)
    await transport.writeFile(seccompProfile, this.options.seccomp, '0644')
    await this.pass([hold, start, api, network, ready, addons, complete], work)
  }

  async kubeconfig(): Promise<string> {
    const {machine, record} = this.options
    return renamed(await output(machine.transport, {argv: [script, 'kubeconfig']}), record.id)
  }

  private async pass(steps: readonly Wait[], {signal, detail}: MachineWork): Promise<void> {
    const {transport} = this.options.machine
    for (const [says, ...argv] of steps) {
      signal.throwIfAborted()
      detail(says)
      const {code, stdout, stderr} = await transport.run({argv: [script, ...argv], signal})
      if (code !== 0) throw microk8sFailure(says, `${stdout.toString()}\n${stderr}`)
    }
  }
}

/** Refuses machines that are not cage's alone: a snap is installed once, for the whole system. Errors: MACHINE_DRIVER, exit 3. */
export function requireOwnSystem(driver: MachineRecord['driver']): asserts driver is 'lima' | 'vagrant' {
  if (driver === 'lima' || driver === 'vagrant') return
  throw new CageError(
    `cluster \`microk8s\` needs a virtual machine of cage's own: machine \`${driver}\` is somebody's system, in which it would install a snap`,
    {
      code: 'MACHINE_DRIVER',
      exitCode: ExitCode.precondition,
      hints: [
        'Use `cluster.kind: kubeadm` there, or `machine.driver: lima` or `vagrant`, in your own config.yaml.',
      ],
    },
  )
}
