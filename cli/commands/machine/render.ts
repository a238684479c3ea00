import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {Flags} from '@oclif/core'
import type {MachineRecord} from '../../../provision/state/machine-record.js'
import {ProjectCommand} from '../../project-command.js'
import type {ProjectContext} from '../../project-context.js'

const drivers = ['local', 'lima', 'vagrant'] as const
type Driver = (typeof drivers)[number]

/** Stands where a key of this machine stands, which `cage up` makes and keeps in the state directory. */
const KEPT = 'a key that cage up makes'

export interface RenderedMachine {
  driver: Driver
  /** what the driver reads, and the text of it */
  file: string
  text: string
}

export default class MachineRender extends ProjectCommand<typeof MachineRender> {
  static override summary = 'Print what a driver gets to make the machine of this project'
  static override description =
    'For `local` the record of the machine, for `vagrant` the machine.json that the static Vagrantfile reads, for `lima` the finished lima.yaml. Nothing is written or started.'
  static override examples = [
    '<%= config.bin %> machine render',
    '<%= config.bin %> machine render --driver lima > lima.yaml',
  ]
  static override flags = {
    driver: Flags.option({description: 'render for this driver', options: drivers, default: 'local'})(),
  }

  public async run(): Promise<RenderedMachine> {
    const project = await this.openProject()
    const rendered = await render(project, this.flags.driver)
    this.log(rendered.text.trimEnd())
    return rendered
  }
}

async function render(project: ProjectContext, driver: Driver): Promise<RenderedMachine> {
  const [{readRecord}, {renderLima, renderRecord, vagrantMachine}, {guestOf}] = await Promise.all([
    import('../../../provision/state/machine-record.js'),
    import('../../../provision/machine/render.js'),
    import('../../../provision/machine/guests.js'),
  ])
  const made = await readRecord(project.files.record)
  const record = made?.driver === driver ? made : await wanted(project, driver)
  if (driver === 'local') return {driver, file: 'machine.json', text: renderRecord(record)}
  // The private half of a key is never printed.
  const description = guestOf(record, {authorizedKey: KEPT, hostKey: KEPT})
  if (driver === 'vagrant')
    return {driver, file: 'machine.json', text: vagrantMachine(description, {emulated: false})}
  const [template, script] = await Promise.all(
    ['lima/cage.yaml', 'provision/guest/vm/boot.sh'].map((file) =>
      readFile(join(project.places.packageRoot, file), 'utf8'),
    ),
  )
  return {driver, file: 'lima.yaml', text: renderLima(template ?? '', script ?? '', description)}
}

/** The record as `cage up` would make it; the subnets of machine `local` are chosen only then. */
async function wanted(project: ProjectContext, driver: Driver): Promise<MachineRecord> {
  const {machine, project: name} = project.settings
  const {freeSshPort} = await import('../../../provision/state/ssh-port.js')
  return {
    version: 1,
    id: project.id,
    project: name,
    repository: project.repository.directory,
    driver,
    cluster: 'kubeadm',
    cpus: machine.cpus,
    memory: machine.memoryBytes,
    disk: machine.diskBytes,
    ...(driver === 'local' ? {} : {sshPort: await freeSshPort(project.homes.state, project.id)}),
    ...(machine.image === undefined ? {} : {image: machine.image}),
  }
}
