import {createHash} from 'node:crypto'
import type {MachineState, MachineWork} from './machine.js'

/** What a guest is made from. Sizes in bytes. */
export interface GuestDescription {
  /** the project's id; every name that a driver gives is made from it */
  id: string
  project: string
  cpus: number
  memory: number
  disk: number
  /** TCP port of this computer's loopback that leads to the guest's SSH, where the driver forwards one */
  sshPort: number
  /** the public key that the guest's root accepts: `ssh-ed25519 …` */
  authorizedKey: string
  /** OpenSSH private key, PEM text, with which the guest proves who it is */
  hostKey: string
  /** a disk image (Lima) or box (Vagrant) of the person's own, absolute path */
  image?: string
}

/** Where the guest's SSH answers. */
export interface GuestAddress {
  host: string
  port: number
}

/**
 * A Linux guest of a hypervisor on this computer, in which the node runs.
 * - Every method MUST be safe to repeat, and to repeat after it was cut off at any point.
 * - `state` MUST find the guest by its name, so that it is found again when the project's state directory was lost.
 * - `start` MUST bring processors, memory and keys of the description into force, also on a guest that has others; until
 *   then a guest that runs with other keys is `broken`.
 * - A guest of that name which belongs to another project MUST be left alone (MACHINE_NAME_TAKEN).
 * - `stop` MUST keep the disk; `destroy` MUST leave neither process nor disk, and say so when it cannot (MACHINE_NOT_REMOVED).
 * - Nothing of this computer's files, agents or ports MAY be reachable from the guest through the driver.
 */
export interface VirtualMachine {
  readonly driver: 'lima' | 'vagrant'
  state(): Promise<MachineState>
  create(work: MachineWork): Promise<void>
  start(work: MachineWork): Promise<void>
  stop(work: MachineWork): Promise<void>
  destroy(work: MachineWork): Promise<void>
  /** only while it runs. Errors: MACHINE_NOT_RUNNING */
  address(): Promise<GuestAddress>
  /** whom the driver itself enters a new guest as, where the guest's disk has to know: a user and its public key */
  firstLogin(): Promise<{user: string; key: string} | undefined>
  /** files to read when a start failed */
  readonly logs: readonly string[]
}

const LONGEST = 24

/** The guest's name: readable, at most 24 characters (sockets have short paths), never the same for two ids. */
export function guestName(id: string): string {
  if (id.length <= LONGEST) return id
  const hash = createHash('sha256').update(id).digest('hex').slice(0, 12)
  return `${id.slice(0, LONGEST - 13).replace(/-+$/, '')}-${hash}`
}
