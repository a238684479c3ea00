import {readFile, rm} from 'node:fs/promises'
import {networkInterfaces} from 'node:os'
import {join} from 'node:path'
import type {Clock} from '../core/clock.js'
import {CageError, ExitCode} from '../core/errors.js'
import {runOk} from '../core/process.js'
import type {Runner} from '../core/runner.js'
import type {ClusterInstaller} from './cluster/cluster.js'
import {KubeadmCluster} from './cluster/kubeadm.js'
import {LocalMachine} from './machine/local.js'
import type {Machine, MachineWork} from './machine/machine.js'
import {projectFiles, type ProjectFiles} from './state/layout.js'
import {takeLock} from './state/lock.js'
import {readRecord, writeRecord, type MachineRecord} from './state/machine-record.js'
import {freeNetwork, networkOf} from './state/network.js'

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

/** The project's machine as it was made, without making anything. Undefined when there is none. */
export async function findMachine(places: Places, id: string): Promise<ProjectMachine | undefined> {
  const record = await readRecord(projectFiles(places.stateHome, id).record)
  return record ? open(places, record) : undefined
}

/** The project's machine; its record is made when there is none. Processors and memory follow the settings, the rest stays. */
export async function openMachine(
  places: Places,
  wanted: MachineWanted,
  signal: AbortSignal,
): Promise<ProjectMachine> {
  const files = projectFiles(places.stateHome, wanted.id)
  const record = await readRecord(files.record)
  const next = record
    ? {...record, cpus: wanted.cpus, memory: wanted.memory}
    : await newRecord(places, wanted, signal)
  if (JSON.stringify(next) !== JSON.stringify(record)) await writeRecord(files.record, next)
  return open(places, next)
}

/** Stops the machine; false when nothing ran. */
export async function stopMachine(places: Places, id: string, work: MachineWork): Promise<boolean> {
  const found = await findMachine(places, id)
  if (!found) return false
  const state = await found.machine.state()
  await found.machine.stop(work)
  return state === 'running' || state === 'broken'
}

/** Removes the machine and everything that cage keeps of the project on this computer; the names of what is gone. */
export async function destroyMachine(places: Places, id: string, work: MachineWork): Promise<string[]> {
  const {directory} = projectFiles(places.stateHome, id)
  const found = await findMachine(places, id).catch((cause: unknown) => {
    if (cause instanceof CageError && cause.code === 'STATE_DAMAGED') return open(places, unreadable(id))
    throw cause
  })
  if (found) await found.machine.destroy(work)
  await rm(directory, {recursive: true, force: true})
  return [...(found ? [`machine cage-${id}`] : []), directory]
}

/** Every IPv4 address of this computer but those of cage's own links: what pods must not reach through it. */
export function computerAddresses(): string[] {
  return Object.entries(networkInterfaces())
    .flatMap(([name, addresses]) => (name.startsWith('cage-') ? [] : (addresses ?? [])))
    .filter(({family, internal}) => family === 'IPv4' && !internal)
    .map(({address}) => address)
    .sort()
}

async function open(places: Places, record: MachineRecord): Promise<ProjectMachine> {
  if (record.driver !== 'local' || record.cluster !== 'kubeadm') {
    throw new CageError(
      `machine \`${record.driver}\` with cluster \`${record.cluster}\` is not available in this version`,
      {
        code: 'MACHINE_DRIVER',
        exitCode: ExitCode.precondition,
        hints: ['Use `machine.driver: local` and `cluster.kind: kubeadm`.'],
      },
    )
  }
  const files = projectFiles(places.stateHome, record.id)
  const {runner, clock, packageRoot, cacheHome} = places
  const cache = join(cacheHome, 'cage')
  const machine = new LocalMachine({runner, clock, record, directory: files.machine, packageRoot, cache})
  const seccomp = await readFile(join(packageRoot, 'provision/guest/seccomp/cage.json'), 'utf8')
  const parts = (work: MachineWork) => machine.parts(work)
  return {record, files, machine, cluster: new KubeadmCluster({machine, record, parts, seccomp})}
}

/** Stands in for a record that is damaged: names are all that removing a machine needs. */
function unreadable(id: string): MachineRecord {
  const sizes = {cpus: 0, memory: 0, disk: 0}
  const network = networkOf(0)
  return {version: 1, id, project: id, repository: '', driver: 'local', cluster: 'kubeadm', ...sizes, network}
}

async function newRecord(places: Places, wanted: MachineWanted, signal: AbortSignal): Promise<MachineRecord> {
  const {stateHome} = places
  const lock = await whenFree(
    () => takeLock(join(stateHome, 'cage', '.networks'), 'choose a network'),
    places,
    signal,
  )
  try {
    const network = await freeNetwork(stateHome, await networksInUse(places.runner))
    const record: MachineRecord = {version: 1, ...wanted, network}
    await writeRecord(projectFiles(stateHome, wanted.id).record, record)
    return record
  } finally {
    await lock.release()
  }
}

async function whenFree<T>(take: () => Promise<T>, {clock}: Places, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await take()
    } catch (cause) {
      if (!(cause instanceof CageError) || cause.code !== 'PROJECT_BUSY') throw cause
      await clock.sleep(100, signal)
    }
  }
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
