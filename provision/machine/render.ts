import {parseDocument, stringify} from 'yaml'
import {CageError} from '../../core/errors.js'
import type {MachineRecord} from '../state/machine-record.js'

/** A machine that is a virtual machine: it is reached over SSH on a port of this computer's loopback. */
export type VirtualMachine = MachineRecord & Required<Pick<MachineRecord, 'sshPort'>>

const MIB = 1024 ** 2
const GIB = 1024 ** 3

/** The port is derived from the id, so that it is the same at every start; a range where little else listens. */
export function sshPortOf(id: string): number {
  return 50_000 + (Number.parseInt(id.slice(-8), 16) % 10_000)
}

/** machine.json; the static Vagrantfile reads it too, its path goes into CAGE_MACHINE. */
export function renderRecord(machine: MachineRecord): string {
  return `${JSON.stringify(machine, undefined, 2)}\n`
}

/**
 * lima.yaml for `limactl start`: the template (the text of lima/cage.yaml) with this project's values set.
 * Throws LIMA_TEMPLATE when the template lost what keeps the guest apart from this computer.
 */
export function renderLima(template: string, machine: VirtualMachine): string {
  const document = parseDocument(template)
  if (document.errors.length > 0) throw broken(document.errors.map((error) => error.message).join('; '))
  document.set('cpus', machine.cpus)
  document.set('memory', binary(machine.memory))
  document.set('disk', binary(machine.disk))
  document.setIn(['ssh', 'localPort'], machine.sshPort)
  document.setIn(['param', 'name'], machine.id)
  document.setIn(['param', 'project'], machine.project)
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
const apart: readonly (readonly [string[], unknown])[] = [
  [['plain'], true],
  [['mounts'], []],
  [['portForwards'], []],
  [['ssh', 'forwardAgent'], false],
  [['ssh', 'forwardX11'], false],
  [['ssh', 'loadDotSSHPubKeys'], false],
  [['propagateProxyEnv'], false],
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
