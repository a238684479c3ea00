import {parseDocument, stringify} from 'yaml'
import {CageError} from '../../core/errors.js'

/** One project's machine as the virtual machine drivers see it. */
export interface MachineShape {
  /** `<project>-<8 hex>`, a DNS label */
  name: string
  project: string
  cpus: number
  /** bytes */
  memory: number
  /** bytes */
  disk: number
  /** TCP port on this computer's loopback that leads to the guest's SSH */
  sshPort: number
}

/** What the static Vagrantfile reads; its path goes into CAGE_MACHINE. */
export interface VagrantMachine {
  version: 1
  name: string
  project: string
  cpus: number
  memoryMiB: number
  diskGiB: number
  vagrant: {box: string; boxVersion: string; sshPort: number}
}

/** The box with its version: Vagrant checks the checksum that the catalog gives for this version. */
const vagrantBox = {box: 'cloud-image/debian-13', boxVersion: '20260501.2465.0'} as const

const MIB = 1024 ** 2
const GIB = 1024 ** 3

/** machine.json for the Vagrantfile, as text. */
export function renderVagrant(machine: MachineShape): string {
  const file: VagrantMachine = {
    version: 1,
    name: machine.name,
    project: machine.project,
    cpus: machine.cpus,
    memoryMiB: Math.ceil(machine.memory / MIB),
    diskGiB: Math.ceil(machine.disk / GIB),
    vagrant: {...vagrantBox, sshPort: machine.sshPort},
  }
  return `${JSON.stringify(file, undefined, 2)}\n`
}

/**
 * lima.yaml for `limactl start`: the template (the text of lima/cage.yaml) with this project's values set.
 * Throws LIMA_TEMPLATE when the template lost what keeps the guest apart from this computer.
 */
export function renderLima(template: string, machine: MachineShape): string {
  const document = parseDocument(template)
  if (document.errors.length > 0) throw broken(document.errors.map((error) => error.message).join('; '))
  document.set('cpus', machine.cpus)
  document.set('memory', binary(machine.memory))
  document.set('disk', binary(machine.disk))
  document.setIn(['ssh', 'localPort'], machine.sshPort)
  document.setIn(['param', 'name'], machine.name)
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
