import {readFile, rm} from 'node:fs/promises'
import {join} from 'node:path'
import type {Clock} from '../core/clock.js'
import {CageError, ExitCode} from '../core/errors.js'
import {runOk} from '../core/process.js'
import type {Runner} from '../core/runner.js'
import type {ClusterInstaller} from './cluster/cluster.js'
import {KubeadmCluster} from './cluster/kubeadm.js'
import {kubernetesVersion} from './cluster/kubernetes-version.js'
import {Microk8sCluster, requireOwnSystem} from './cluster/microk8s.js'
import {computerAddresses, LocalMachine} from './machine/local.js'
import type {Machine, MachineWork} from './machine/machine.js'
import {GuestMachine} from './machine/guest-machine.js'
import {baseName} from './machine/base-name.js'
import {thisComputer} from './machine/choose-driver.js'
import {guestKeys} from './machine/guest-keys.js'
import {guestOf, guestTransport, orphan, virtualMachine} from './machine/guests.js'
import {GuestSystem} from './machine/guest-system.js'
import {GuestUpkeep} from './machine/upkeep.js'
import type {VirtualMachine} from './machine/virtual-machine.js'
import {RemoteNode} from './machine/remote-node.js'
import {contactServer, knownAddresses, serverTransport, type SshAddress} from './machine/ssh-server.js'
import {projectFiles, type ProjectFiles} from './state/layout.js'
import {takeLock, whenFree} from './state/lock.js'
import {readMachineRecord, writeRecord, type MachineRecord} from './state/machine-record.js'
import {FIRST_NETWORK, freeNetwork, networkOf} from './state/network.js'
import {freeSshPort} from './state/ssh-port.js'
import type {RemoteTransport} from './transport/transport.js'

/** Where everything is, handed in from the edge. */
export interface Places {
  /** `$XDG_STATE_HOME` and `$XDG_CACHE_HOME` */
  stateHome: string
  cacheHome: string
  /** where cage is installed */
  packageRoot: string
  runner: Runner
  clock: Clock
}

/** What the project's settings ask for. Sizes in bytes. */
export interface MachineWanted {
  id: string
  project: string
  repository: string
  driver: 'local' | 'lima' | 'vagrant' | 'ssh'
  /** of driver `ssh` */
  ssh?: SshAddress
  /** of drivers `lima` and `vagrant`: the person's own disk image or box */
  image?: string
  cluster: 'kubeadm' | 'microk8s'
  cpus: number
  memory: number
  disk: number
}

/** A project's machine and the cluster on it, ready to be asked. */
export interface ProjectMachine {
  record: MachineRecord
  files: ProjectFiles
  machine: Machine
  cluster: ClusterInstaller
}

/** The project's machine as it was made, without making anything. Undefined when there is none, as with cluster `existing`. */
export async function findMachine(places: Places, id: string): Promise<ProjectMachine | undefined> {
  const record = await readMachineRecord(projectFiles(places.stateHome, id).record)
  return record && openRecord(places, record)
}

/** The project's machine; its record is made when there is none. Processors and memory follow the settings, the rest stays. */
export async function openMachine(
  places: Places,
  wanted: MachineWanted,
  signal: AbortSignal,
): Promise<ProjectMachine> {
  const files = projectFiles(places.stateHome, wanted.id)
  const record = await readMachineRecord(files.record)
  const next = record
    ? {...record, cpus: wanted.cpus, memory: wanted.memory, ...movedServer(record, wanted)}
    : await newRecord(places, wanted, signal)
  if (JSON.stringify(next) !== JSON.stringify(record)) await writeRecord(files.record, next)
  const opened = await openRecord(places, next)
  if (record?.driver === 'ssh') await letInAgain(places, opened)
  return opened
}

/** A server that got another address is the same server when it shows the pinned host key. */
function movedServer({driver, ssh}: MachineRecord, wanted: MachineWanted): Pick<MachineRecord, 'ssh'> {
  return driver === 'ssh' && ssh && wanted.ssh ? {ssh: {...wanted.ssh, user: ssh.user}} : {}
}

/** The project's key may have been taken out on the server, or another user be named now. */
async function letInAgain(places: Places, {record, files, machine}: ProjectMachine): Promise<void> {
  try {
    await machine.state()
  } catch (cause) {
    if (!(cause instanceof CageError) || cause.code !== 'SSH_KEY_REFUSED' || !record.ssh) throw cause
    const {host, port} = record.ssh
    const address = {host, ...(port === undefined ? {} : {port})}
    const {ssh} = await contactServer({...places, files}, address, record)
    await writeRecord(files.record, {...record, ssh})
    record.ssh = ssh
  }
}

/** Stops the machine; false when nothing ran. */
export async function stopMachine(places: Places, id: string, work: MachineWork): Promise<boolean> {
  const found = await findMachine(places, id)
  if (!found) return false
  try {
    const state = await found.machine.state()
    await found.machine.stop(work)
    return state === 'running' || state === 'broken'
  } finally {
    await found.machine.close()
  }
}

/** Removes the machine and everything that cage keeps of the project on this computer; the names of what is gone. */
export async function destroyMachine(places: Places, id: string, work: MachineWork): Promise<string[]> {
  const {directory} = projectFiles(places.stateHome, id)
  const found = await findMachine(places, id).catch((cause: unknown) => {
    if (cause instanceof CageError && cause.code === 'STATE_DAMAGED')
      return openRecord(places, unreadable(id))
    throw cause
  })
  const removed = found ? [`machine cage-${id}`] : await removeOrphans(places, id, work)
  if (found) await remove(found, directory, work)
  await rm(directory, {recursive: true, force: true})
  return [...removed, directory]
}

/** Guests of the project whose record was lost; the names of what is gone. */
async function removeOrphans(places: Places, id: string, work: MachineWork): Promise<string[]> {
  const removed: string[] = []
  for (const driver of ['lima', 'vagrant'] as const) {
    const guest = virtualMachine(driver, orphan(id), projectFiles(places.stateHome, id).machine, {
      ...places,
      ...thisComputer(places),
    })
    if ((await guest.state()) === 'absent') continue
    await guest.destroy(work)
    removed.push(`virtual machine ${id} of ${driver}`)
  }
  return removed
}

/** What a server answers that is not there any more. */
const gone = ['MACHINE_UNREACHABLE', 'HOST_KEY_CHANGED']

async function remove({machine}: ProjectMachine, directory: string, work: MachineWork): Promise<void> {
  try {
    await machine.destroy(work)
  } catch (cause) {
    if (!(cause instanceof CageError) || !gone.includes(cause.code)) throw cause
    const hints = [`If the machine is gone for good: rm -r ${directory}`, ...cause.hints.slice(0, 1)]
    throw new CageError(cause.message, {code: cause.code, exitCode: cause.exitCode, hints, cause})
  } finally {
    await machine.close()
  }
}

/** The machine of a record, without making anything. */
export async function openRecord(places: Places, record: MachineRecord): Promise<ProjectMachine> {
  const files = projectFiles(places.stateHome, record.id)
  const seccomp = await readFile(join(places.packageRoot, 'provision/guest/seccomp/cage.json'), 'utf8')
  if (record.cluster === 'microk8s') {
    const machine = await systemOf(places, record, files)
    return {record, files, machine, cluster: new Microk8sCluster({machine, record, seccomp})}
  }
  const {machine, node} = await nodeOf(places, record, files)
  const parts = (work: MachineWork) => node.parts(work)
  const kubernetes = await kubernetesVersion(places.packageRoot)
  const {clock} = places
  const cluster = new KubeadmCluster({machine, record, clock, kubernetes, parts, seccomp})
  return {record, files, machine, cluster}
}

/** A machine with a node of cage's own, wherever that is. */
async function nodeOf(
  places: Places,
  record: MachineRecord,
  files: ProjectFiles,
): Promise<{machine: Machine; node: LocalMachine | RemoteNode}> {
  const {runner} = places
  const common = nodeOptions(places, record)
  const {driver, ssh} = record
  if (driver === 'local') {
    const node = new LocalMachine({...common, directory: files.machine})
    return {machine: node, node}
  }
  if (driver === 'ssh') {
    const host = serverTransport({...places, files}, record)
    const knownAs = async () => (ssh ? knownAddresses(runner, ssh) : [])
    const node = new RemoteNode({...common, driver, host, knownAs})
    return {machine: node, node}
  }
  return nodeInGuest(places, record, driver)
}

function nodeOptions(places: Places, record: MachineRecord) {
  const {runner, clock, packageRoot, cacheHome} = places
  return {runner, clock, record, packageRoot, cache: join(cacheHome, 'cage')}
}

/** A virtual machine with a node of cage's own in it, and both by themselves. */
export async function nodeInGuest(
  places: Places,
  record: MachineRecord,
  driver: 'lima' | 'vagrant',
): Promise<{machine: GuestMachine; guest: VirtualMachine; node: RemoteNode}> {
  const {packageRoot} = places
  const files = projectFiles(places.stateHome, record.id)
  const {guest, host} = await guestAndHost(places, record, driver, files)
  // What a guest sends leaves through this computer's own sockets.
  const knownAs = () => Promise.resolve(computerAddresses())
  const node = new RemoteNode({...nodeOptions(places, record), driver, host, knownAs})
  const machine = new GuestMachine(guest, node, new GuestUpkeep(host, packageRoot), host)
  return {machine, guest, node}
}

/** A virtual machine whose own system runs the cluster. Errors: MACHINE_DRIVER, exit 3. */
async function systemOf(places: Places, record: MachineRecord, files: ProjectFiles): Promise<Machine> {
  const {driver} = record
  requireOwnSystem(driver)
  const {runner, packageRoot} = places
  const {guest, host} = await guestAndHost(places, record, driver, files)
  const around = computerAddresses
  const system = new GuestSystem({driver, host, runner, record, packageRoot, around})
  return new GuestMachine(guest, system, new GuestUpkeep(host, packageRoot), host)
}

async function guestAndHost(
  places: Places,
  record: MachineRecord,
  driver: 'lima' | 'vagrant',
  files: ProjectFiles,
): Promise<{guest: VirtualMachine; host: RemoteTransport}> {
  const {id} = record
  const keys = await guestKeys(files, id)
  const computer = {...places, ...thisComputer(places)}
  const own = record.image === undefined ? {} : {image: record.image}
  // A base brings what a node of cage's own starts from.
  const base = async () => (record.cluster === 'kubeadm' ? baseName({driver, ...own}, places) : undefined)
  const guest = virtualMachine(driver, guestOf(record, keys), files.machine, computer, base)
  return {guest, host: guestTransport(places.runner, guest, {id, files, keys})}
}

/** Stands in for a record that is damaged: names are all that removing a machine needs. */
function unreadable(id: string): MachineRecord {
  const sizes = {cpus: 0, memory: 0, disk: 0}
  const network = networkOf(0)
  return {version: 1, id, project: id, repository: '', driver: 'local', cluster: 'kubeadm', ...sizes, network}
}

async function newRecord(places: Places, wanted: MachineWanted, signal: AbortSignal): Promise<MachineRecord> {
  if (wanted.driver === 'ssh') return newServerRecord(places, wanted)
  const {stateHome} = places
  const {id, project, repository, driver, cluster, cpus, memory, disk, image} = wanted
  const rest = {id, project, repository, driver, cluster, cpus, memory, disk}
  const lock = await whenFree(
    () => takeLock(join(stateHome, 'cage', '.networks'), 'choose a network'),
    places,
    signal,
  )
  try {
    const record: MachineRecord =
      wanted.driver === 'local'
        ? {version: 1, ...rest, network: await freeNetwork(stateHome, await networksInUse(places.runner))}
        : {
            version: 1,
            ...rest,
            ...(image === undefined ? {} : {image}),
            sshPort: await freeSshPort(stateHome, wanted.id),
            // A guest is a network of its own; always the same one, so that a lost record loses nothing.
            ...(cluster === 'kubeadm' ? {network: networkOf(FIRST_NETWORK)} : {}),
          }
    await writeRecord(projectFiles(stateHome, wanted.id).record, record)
    return record
  } finally {
    await lock.release()
  }
}

/** A server chooses the network itself: other computers have projects there too. */
async function newServerRecord(places: Places, wanted: MachineWanted): Promise<MachineRecord> {
  if (!wanted.ssh) {
    throw new CageError('machine `ssh` needs a server', {
      code: 'SERVER_MISSING',
      exitCode: ExitCode.precondition,
      hints: ['Name it in your own config.yaml: machine: { driver: ssh, ssh: { host: me@server } }'],
    })
  }
  const files = projectFiles(places.stateHome, wanted.id)
  const {ssh, network} = await contactServer({...places, files}, wanted.ssh, wanted)
  return {version: 1, ...wanted, ssh, network}
}

/** Routes and resolvers of this computer: CIDRs and addresses. */
async function networksInUse(runner: Runner): Promise<string[]> {
  const routes = JSON.parse(
    (await runOk(runner, {argv: ['ip', '-4', '-json', 'route', 'show', 'table', 'all']})).toString(),
  ) as {dst: string}[]
  const resolvers = await readFile('/etc/resolv.conf', 'utf8').catch(() => '')
  return [
    ...routes.map(({dst}) => dst),
    ...computerAddresses(),
    ...(resolvers.match(/\d+\.\d+\.\d+\.\d+/g) ?? []),
  ]
}
