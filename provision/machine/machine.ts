import type {Transport} from '../transport/transport.js'
import type {Reach} from './guest-reach.js'
import type {Upkeep} from './upkeep.js'

/**
 * `absent`: nothing of it exists. `stopped`: its files exist. `running`: commands can be run on it.
 * `broken`: it runs, but a part outside of it died (the way to the network); `start` repairs that.
 */
export type MachineState = 'absent' | 'stopped' | 'running' | 'broken'

export interface MachineFacts {
  /** IPv4 address of the machine, on which the API server listens */
  address: string
  architecture: 'amd64' | 'arm64'
  cgroup: 'v1' | 'v2'
  /** what supervises services on it */
  supervisor: 'runit' | 'systemd'
  /** the machine has the computer's own kernel: an escape from a pod reaches the computer */
  sharesKernel: boolean
  /** the DNS server that pods may ask */
  resolver: string
  /** IPv4 addresses of the computer around the machine, through which it leaves: pods never reach them */
  around: readonly string[]
}

/** What a machine does next, for the person who waits. */
export interface MachineWork {
  signal: AbortSignal
  detail: (text: string) => void
}

/**
 * Where the cluster of one project runs.
 * - Every method MUST be safe to repeat, and to repeat after it was cut off at any point.
 * - `start` MUST leave the machine closed for pods until the firewall is applied.
 * - `stop` MUST keep all data; `destroy` MUST leave no process, mount, network link, firewall table, control group or file.
 * - Nothing of this computer's files MAY be reachable from the machine.
 */
export interface Machine {
  readonly driver: 'local' | 'lima' | 'vagrant' | 'ssh'
  state(): Promise<MachineState>
  /** makes what outlives a stop: disks, and the programs they start from. Takes minutes the first time on a computer */
  create(work: MachineWork): Promise<void>
  start(work: MachineWork): Promise<void>
  stop(work: MachineWork): Promise<void>
  destroy(work: MachineWork): Promise<void>
  facts(): Promise<MachineFacts>
  /** where this process reaches the API server; a machine that is far away answers on a tunnel, until `close` */
  api(): Promise<{host: string; port: number}>
  /** ends connections and tunnels; the machine stays as it is */
  close(): Promise<void>
  /** what keeps a system that is cage's own in order; absent where the system is somebody's */
  care?(signal: AbortSignal): Promise<Upkeep[]>
  /** what of the computer around it root of a virtual machine reaches; absent where the machine is none */
  reach?(signal: AbortSignal): Promise<Reach[]>
  readonly transport: Transport
}
