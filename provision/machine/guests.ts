import {join} from 'node:path'
import {CageError} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import type {ProjectFiles} from '../state/layout.js'
import type {MachineRecord} from '../state/machine-record.js'
import {sshTransport} from '../transport/ssh.js'
import type {RemoteTransport} from '../transport/transport.js'
import {hostKeyAlias, type GuestKeys} from './guest-keys.js'
import {LimaBases, VagrantBases, type GuestBases} from './guest-bases.js'
import {LimaMachine} from './lima.js'
import {VagrantMachine} from './vagrant.js'
import {VagrantTool} from './vagrant-tool.js'
import type {GuestDescription, VirtualMachine} from './virtual-machine.js'
import {hardwareVirtualization} from './virtualization.js'

/** Homes of Lima and Vagrant that belong to cage, shared by all projects. Short paths: sockets lie below them. */
export function guestHomes(stateHome: string): {lima: string; vagrant: string} {
  return {lima: join(stateHome, 'cage', '.lima'), vagrant: join(stateHome, 'cage', '.vagrant')}
}

/** Where what is known of base images lies, and Lima's own. */
export function basesDirectory(stateHome: string): string {
  return join(stateHome, 'cage', '.bases')
}

/** What a guest is made from, out of the project's record. Errors: STATE_DAMAGED. */
export function guestOf(
  record: MachineRecord,
  keys: Pick<GuestKeys, 'authorizedKey' | 'hostKey'>,
): GuestDescription {
  const {id, project, cpus, memory, disk, sshPort, image} = record
  if (sshPort === undefined)
    throw new CageError('the record of the machine names no port', {code: 'STATE_DAMAGED'})
  const {authorizedKey, hostKey} = keys
  const own = image === undefined ? {} : {image}
  return {id, project, cpus, memory, disk, sshPort, authorizedKey, hostKey, ...own}
}

export interface GuestPlaces {
  stateHome: string
  packageRoot: string
  runner: Runner
  /** as in `process.platform` and `process.arch` */
  platform: string
  arch: string
}

/**
 * The virtual machine of a record. `directory` is `machine/` of the project's state; `base` names what a guest that is
 * made now starts from, where that is kept.
 */
export function virtualMachine(
  driver: 'lima' | 'vagrant',
  description: GuestDescription,
  directory: string,
  places: GuestPlaces,
  base: () => Promise<string | undefined> = () => Promise.resolve(undefined),
): VirtualMachine {
  const {stateHome, packageRoot, runner, platform, arch} = places
  const homes = guestHomes(stateHome)
  const hardware = () => hardwareVirtualization(runner, platform, arch)
  const common = {runner, description, directory, packageRoot, hardware}
  const bases = guestBases(driver, places)
  const kept = async () => {
    const name = await base()
    return name !== undefined && (await bases.has(name)) ? bases.source(name) : undefined
  }
  return driver === 'lima'
    ? new LimaMachine({...common, home: homes.lima, base: kept})
    : new VagrantMachine({...common, home: homes.vagrant, platform, base: kept})
}

/** What guests of a driver can be made from. */
export function guestBases(driver: 'lima' | 'vagrant', places: GuestPlaces): GuestBases {
  const {stateHome, runner, platform} = places
  const homes = guestHomes(stateHome)
  const directory = basesDirectory(stateHome)
  return driver === 'lima'
    ? new LimaBases({runner, home: homes.lima, directory, platform})
    : new VagrantBases({runner, tool: new VagrantTool({runner, home: homes.vagrant, platform}), directory})
}

/** The way to the guest's root: wherever its driver says, with the project's key, and only to the key that cage gave it. */
export function guestTransport(
  runner: Runner,
  guest: VirtualMachine,
  {id, files, keys}: {id: string; files: ProjectFiles; keys: GuestKeys},
): RemoteTransport {
  return sshTransport(runner, async () => {
    const {host, port} = await guest.address()
    return {
      address: host,
      port,
      user: 'root',
      keyFile: files.sshKey,
      hostKey: keys.pinned,
      knownHosts: files.sshKnownHosts,
      hostKeyAlias: hostKeyAlias(id),
    }
  })
}

/** Stands in for a guest whose record was lost: its name is all that removing it needs. */
export function orphan(id: string): GuestDescription {
  return {id, project: id, cpus: 1, memory: 0, disk: 0, sshPort: 0, authorizedKey: '', hostKey: ''}
}
