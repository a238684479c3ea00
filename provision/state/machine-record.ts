import {CageError} from '../../core/errors.js'
import {readIfThere, writePrivate} from './files.js'

/** What `cage up` decided once for a project and keeps for its life. Sizes in bytes. */
export interface MachineRecord {
  version: 1
  /** `<project>-<8 hex>` */
  id: string
  project: string
  /** the repository on this computer, for `cage list` */
  repository: string
  driver: 'local' | 'lima' | 'vagrant' | 'ssh'
  cluster: 'kubeadm' | 'microk8s'
  cpus: number
  memory: number
  disk: number
  /** TCP port on this computer's loopback that leads to a virtual machine's SSH */
  sshPort?: number
  /** driver `ssh`: the server as the person wrote it, and who cage is there */
  ssh?: SshServer
  /** a disk image or box of the person's own that a virtual machine is made from, absolute path */
  image?: string
  /** subnets of this project; absent where the machine is a network of its own */
  network?: ProjectNetwork
  existing?: undefined
}

/** The same of a project whose cluster was there: no machine is cage's. */
export interface ExistingRecord extends Pick<MachineRecord, 'version' | 'id' | 'project' | 'repository'> {
  driver: 'none'
  cluster: 'existing'
  existing: ExistingCluster
}

/** A cluster that was there before the project. */
export interface ExistingCluster {
  /** the operator's file, absolute; read anew each time */
  kubeconfig: string
  /** its context, also when the file's current one becomes another */
  context: string
  /** UID of its namespace kube-system: tells whether it is still the same cluster */
  uid: string
  /** where the images are, e.g. `registry.example.com/cage` */
  registry: string
  /** absent = the cluster's default */
  storageClass?: string
}

export interface SshServer {
  /** `user@server` or a name of the person's ssh configuration */
  host: string
  /** absent = what that configuration says, else 22 */
  port?: number
  user: string
}

/** All inside one /16 that nothing else on this computer uses. */
export interface ProjectNetwork {
  /** e.g. `10.200.0.0/16` */
  range: string
  /** this computer's end of the link, with prefix length */
  host: string
  /** the machine's end of the link, with prefix length */
  machine: string
  pods: string
  services: string
}

/** Undefined when the project has neither machine nor cluster. Errors: STATE_DAMAGED. */
export async function readRecord(path: string): Promise<MachineRecord | ExistingRecord | undefined> {
  const text = await readIfThere(path)
  if (text === undefined) return undefined
  try {
    const record = JSON.parse(text) as Partial<Record<keyof MachineRecord, unknown>> | null
    if (record?.version === 1 && typeof record.id === 'string')
      return record as unknown as MachineRecord | ExistingRecord
  } catch (cause) {
    throw damaged(path, cause)
  }
  throw damaged(path)
}

/** Undefined when the project has no machine. Errors: STATE_DAMAGED. */
export async function readMachineRecord(path: string): Promise<MachineRecord | undefined> {
  const record = await readRecord(path)
  return record?.cluster === 'existing' ? undefined : record
}

export async function writeRecord(path: string, record: MachineRecord | ExistingRecord): Promise<void> {
  await writePrivate(path, `${JSON.stringify(record, undefined, 2)}\n`)
}

function damaged(path: string, cause?: unknown): CageError {
  return new CageError(`${path} is not a record of a machine that this version of cage wrote`, {
    code: 'STATE_DAMAGED',
    hints: ['Run `cage destroy` and `cage up`: tasks of this project are lost.'],
    cause,
  })
}
