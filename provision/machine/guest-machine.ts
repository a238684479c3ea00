import type {Transport} from '../transport/transport.js'
import type {Machine, MachineFacts, MachineState, MachineWork} from './machine.js'
import {guestReach, type Reach} from './guest-reach.js'
import {computerAddresses} from './local.js'
import type {GuestUpkeep, Upkeep} from './upkeep.js'
import type {VirtualMachine} from './virtual-machine.js'

/**
 * A virtual machine of this computer and what runs the cluster in it: a node as on any server, or its own system. The guest
 * is made and booted first.
 */
export class GuestMachine implements Machine {
  readonly driver: 'lima' | 'vagrant'
  readonly transport: Machine['transport']
  private readonly guest: VirtualMachine
  private readonly node: Machine
  private readonly upkeep: GuestUpkeep
  private readonly host: Transport

  /** `host` is root of the guest's own system; `node` is reached through it, and asked only while the guest runs. */
  constructor(guest: VirtualMachine, node: Machine, upkeep: GuestUpkeep, host: Transport) {
    this.guest = guest
    this.node = node
    this.upkeep = upkeep
    this.host = host
    this.driver = guest.driver
    this.transport = node.transport
  }

  async state(): Promise<MachineState> {
    const guest = await this.guest.state()
    if (guest !== 'running') return guest
    // A guest without a node is one that is not finished: what is missing is made at its start.
    const node = await this.node.state()
    return node === 'absent' ? 'stopped' : node
  }

  create(work: MachineWork): Promise<void> {
    return this.guest.create(work)
  }

  async start(work: MachineWork): Promise<void> {
    await this.guest.start(work)
    if ((await this.node.state()) === 'absent') await this.node.create(work)
    await this.node.start(work)
    work.detail('switching on updates and time')
    await this.upkeep.apply(work.signal)
  }

  /** what keeps the guest in order; only while it runs */
  care(signal: AbortSignal): Promise<Upkeep[]> {
    return this.upkeep.state(signal)
  }

  reach(signal: AbortSignal): Promise<Reach[]> {
    return guestReach(this.host, computerAddresses(), signal)
  }

  async stop(work: MachineWork): Promise<void> {
    // The pods end first, each in its own time; a guest that is off has none, and one with other keys is not ours to ask.
    if ((await this.guest.state()) === 'running') await this.node.stop(work)
    await this.node.close()
    await this.guest.stop(work)
  }

  /** All of the node is inside the guest. */
  async destroy(work: MachineWork): Promise<void> {
    await this.node.close()
    await this.guest.destroy(work)
  }

  facts(): Promise<MachineFacts> {
    return this.node.facts()
  }

  api(): Promise<{host: string; port: number}> {
    return this.node.api()
  }

  close(): Promise<void> {
    return this.node.close()
  }
}
