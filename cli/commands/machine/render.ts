import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {Flags} from '@oclif/core'
import {CageError, ExitCode} from '../../../core/errors.js'
import type {VagrantExtras} from '../../../provision/machine/render.js'
import type {MachineRecord} from '../../../provision/state/machine-record.js'
import {ProjectCommand} from '../../project-command.js'
import type {ProjectContext} from '../../project-context.js'

const drivers = ['local', 'ssh', 'lima', 'vagrant'] as const
type Driver = (typeof drivers)[number]

/** Stands where a key of this machine stands, which `cage up` makes and keeps in the state directory. */
const KEPT = 'a key that cage up makes'

/** Stands where the account on a server stands, which the first contact asks for. */
const ASKED = 'whoever your ssh logs in as'

export interface RenderedMachine {
  driver: Driver
  /** what the driver reads, and the text of it */
  file: string
  text: string
}

export default class MachineRender extends ProjectCommand<typeof MachineRender> {
  static override summary = 'Print what a driver gets to make the machine of this project'
  static override description =
    'For `local` and `ssh` the record of the machine, for `vagrant` the machine.json that the static Vagrantfile reads, for `lima` the finished lima.yaml. Nothing is written or started.'
  static override examples = [
    '<%= config.bin %> machine render',
    '<%= config.bin %> machine render --driver lima > lima.yaml',
  ]
  static override flags = {
    driver: Flags.option({
      description: 'render for this driver; default: the one that `cage up` uses',
      options: drivers,
    })(),
  }

  public async run(): Promise<RenderedMachine> {
    const project = await this.openProject()
    const rendered = await render(project, this.flags.driver)
    this.log(rendered.text.trimEnd())
    return rendered
  }
}

async function render(project: ProjectContext, asked: Driver | undefined): Promise<RenderedMachine> {
  const [{readRecord}, {renderLima, renderRecord, vagrantMachine}, {guestOf}] = await Promise.all([
    import('../../../provision/state/machine-record.js'),
    import('../../../provision/machine/render.js'),
    import('../../../provision/machine/guests.js'),
  ])
  const made = await readRecord(project.files.record)
  const driver = asked ?? (await usual(project))
  const record = made?.driver === driver ? made : await wanted(project, driver)
  if (driver === 'local' || driver === 'ssh')
    return {driver, file: 'machine.json', text: renderRecord(record)}
  // The private half of a key is never printed.
  const description = guestOf(record, {authorizedKey: KEPT, hostKey: KEPT})
  if (driver === 'vagrant')
    return {driver, file: 'machine.json', text: vagrantMachine(description, await extras(project, record))}
  const [template, script] = await Promise.all(
    ['lima/cage.yaml', 'provision/guest/vm/boot.sh'].map((file) =>
      readFile(join(project.places.packageRoot, file), 'utf8'),
    ),
  )
  return {driver, file: 'lima.yaml', text: renderLima(template ?? '', script ?? '', description)}
}

/** The driver of the machine that is there, else what the settings mean here. Errors: NO_MACHINE, MACHINE_DRIVER. */
async function usual(project: ProjectContext): Promise<Driver> {
  const {driverOf} = await import('../../machine-wanted.js')
  const {driver} = await driverOf(project)
  if (driver !== 'none') return driver
  throw new CageError('a project with cluster `existing` has no machine', {
    code: 'MACHINE_DRIVER',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage manifests render` to see what it puts into the cluster.'],
  })
}

/** As the driver finds them out at a start. */
async function extras(project: ProjectContext, {image}: MachineRecord): Promise<VagrantExtras> {
  const [{ownBox}, {hardwareVirtualization}, {thisComputer}, {vagrantProvider}] = await Promise.all([
    import('../../../provision/machine/vagrant.js'),
    import('../../../provision/machine/virtualization.js'),
    import('../../../provision/machine/choose-driver.js'),
    import('../../../provision/machine/guest-tools.js'),
  ])
  const {runner, platform, arch, vagrantHome} = thisComputer(project.places)
  const provider = await vagrantProvider(runner, platform, vagrantHome)
  const box = await ownBox(image)
  return {
    emulated: provider === 'libvirt' && !(await hardwareVirtualization(runner, platform, arch)),
    ...(box ? {box} : {}),
  }
}

/** The record as `cage up` would make it; the subnets of `local` and `ssh` are chosen only then. */
async function wanted(project: ProjectContext, driver: Driver): Promise<MachineRecord> {
  const {machine, cluster, project: name} = project.settings
  const [{freeSshPort}, {chooseCluster}] = await Promise.all([
    import('../../../provision/state/ssh-port.js'),
    import('../../../provision/cluster/choose-cluster.js'),
  ])
  const {kind} = cluster
  const guest = driver === 'lima' || driver === 'vagrant'
  return {
    version: 1,
    id: project.id,
    project: name,
    repository: project.repository.directory,
    driver,
    cluster:
      kind === 'kubeadm' || kind === 'microk8s' ? kind : (await chooseCluster(driver, process.arch)).kind,
    cpus: machine.cpus,
    memory: machine.memoryBytes,
    disk: machine.diskBytes,
    ...(guest ? {sshPort: await freeSshPort(project.homes.state, project.id)} : {}),
    ...(driver === 'ssh' && machine.ssh ? {ssh: {user: ASKED, ...machine.ssh}} : {}),
    ...(machine.image === undefined ? {} : {image: machine.image}),
  }
}
