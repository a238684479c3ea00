import {parseDocument, stringify} from 'yaml'
import {CageError} from '../../core/errors.js'
import type {MachineRecord} from '../state/machine-record.js'
import type {GuestDescription} from './virtual-machine.js'

const MIB = 1024 ** 2
const GIB = 1024 ** 3

/** The record of a machine, as it lies in the state directory. */
export function renderRecord(machine: MachineRecord): string {
  return `${JSON.stringify(machine, undefined, 2)}\n`
}

/** A box that stands in for the pinned one. */
export interface VagrantBox {
  name: string
  /** of the person's own: absolute path; absent = Vagrant has it */
  file?: string
}

export interface VagrantExtras {
  /** without the help of this computer's processor */
  emulated: boolean
  box?: VagrantBox
}

/** machine.json as the static Vagrantfile reads it; its path goes into CAGE_MACHINE. */
export function vagrantMachine(guest: GuestDescription, extras: VagrantExtras): string {
  const {id, project, cpus, memory, disk, sshPort, authorizedKey, hostKey} = guest
  const machine = {version: 1, id, project, cpus, memory, disk, sshPort, authorizedKey, hostKey, ...extras}
  return `${JSON.stringify(machine, undefined, 2)}\n`
}

/** What the guest's boot script gets from Lima. */
export function limaParameters({id, authorizedKey, hostKey}: GuestDescription): Record<string, string> {
  return {
    project: id,
    name: `cage-${id}`,
    authorizedKey,
    hostKey: Buffer.from(hostKey).toString('base64'),
  }
}

/**
 * lima.yaml for `limactl`: the template (the text of lima/cage.yaml) with this project's values set; `script` is the text
 * of provision/guest/vm/boot.sh. Throws LIMA_TEMPLATE when the template lost what keeps the guest apart from this computer.
 */
export function renderLima(template: string, script: string, guest: GuestDescription): string {
  const document = parseDocument(template)
  if (document.errors.length > 0) throw broken(document.errors.map((error) => error.message).join('; '))
  document.set('cpus', guest.cpus)
  document.set('memory', binary(guest.memory))
  document.set('disk', binary(guest.disk))
  document.setIn(['ssh', 'localPort'], guest.sshPort)
  document.set('param', document.createNode(limaParameters(guest)))
  document.setIn(['provision', 0, 'script'], script)
  if (guest.image !== undefined) document.set('images', document.createNode([{location: guest.image}]))
  const rendered: unknown = document.toJS()
  for (const [path, wanted] of apart) {
    const found: unknown = document.getIn(path)
    const value =
      typeof found === 'object' && found !== null && 'toJSON' in found
        ? (found as {toJSON(): unknown}).toJSON()
        : found
    if (JSON.stringify(value) !== JSON.stringify(wanted))
      throw broken(`${path.join('.')} must be ${JSON.stringify(wanted)}`)
  }
  return stringify(rendered, {compat: 'yaml-1.1', lineWidth: 0})
}

/** What keeps the guest apart from this computer; a template without it is refused. */
const apart: readonly (readonly [(string | number)[], unknown])[] = [
  [['plain'], true],
  [['mounts'], []],
  [['portForwards'], []],
  [['ssh', 'forwardAgent'], false],
  [['ssh', 'forwardX11'], false],
  [['ssh', 'loadDotSSHPubKeys'], false],
  [['propagateProxyEnv'], false],
  [['provision', 0, 'mode'], 'boot'],
]

function broken(problem: string): CageError {
  return new CageError(`lima/cage.yaml: ${problem}`, {
    code: 'LIMA_TEMPLATE',
    hints: ['restore lima/cage.yaml from the version of cage that you installed'],
  })
}

/** Whole binary units as Lima reads them, rounded up to MiB. */
function binary(bytes: number): string {
  return bytes % GIB === 0 ? `${bytes / GIB}GiB` : `${Math.ceil(bytes / MIB)}MiB`
}
