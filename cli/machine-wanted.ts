import {CageError, ExitCode} from '../core/errors.js'
import {chooseCluster, type ClusterChoice} from '../provision/cluster/choose-cluster.js'
import {requireOwnSystem} from '../provision/cluster/microk8s.js'
import {chooseDriver, thisComputer} from '../provision/machine/choose-driver.js'
import type {MachineWanted} from '../provision/provisioning.js'
import {readMachineRecord} from '../provision/state/machine-record.js'
import type {ProjectContext} from './project-context.js'

/** What the project's settings ask of a machine; `why` says what `driver: auto` could not take. */
export async function machineWanted(project: ProjectContext): Promise<{wanted: MachineWanted; why: string}> {
  const {machine, cluster, project: name} = project.settings
  const {driver, why} = await driverOf(project)
  if (driver === 'none' || cluster.kind === 'existing') throw unavailable(driver, cluster.kind)
  const {kind, why: whyKind} = await clusterOf(project, driver)
  if (kind === 'microk8s') requireOwnSystem(driver)
  const wanted = {
    id: project.id,
    project: name,
    repository: project.repository.directory,
    driver,
    cluster: kind,
    ...(machine.ssh ? {ssh: machine.ssh} : {}),
    ...(machine.image === undefined ? {} : {image: machine.image}),
    cpus: machine.cpus,
    memory: machine.memoryBytes,
    disk: machine.diskBytes,
  }
  return {wanted, why: [why, whyKind].filter((one) => one !== '').join('; ')}
}

/** A machine that is there keeps its driver. */
export async function driverOf(
  project: ProjectContext,
): Promise<{driver: MachineWanted['driver'] | 'none'; why: string}> {
  const record = await readMachineRecord(project.files.record)
  if (record) return {driver: record.driver, why: ''}
  const {driver} = project.settings.machine
  return driver === 'auto' ? chooseDriver(thisComputer(project.places)) : {driver, why: ''}
}

/** A machine that is there keeps its cluster. */
async function clusterOf(project: ProjectContext, driver: MachineWanted['driver']): Promise<ClusterChoice> {
  const record = await readMachineRecord(project.files.record)
  if (record) return {kind: record.cluster, why: ''}
  const {kind} = project.settings.cluster
  if (kind === 'kubeadm' || kind === 'microk8s') return {kind, why: ''}
  return chooseCluster(driver, thisComputer(project.places).arch)
}

function unavailable(driver: string, kind: string): CageError {
  return new CageError(`machine \`${driver}\` and cluster \`${kind}\` do not go together`, {
    code: 'MACHINE_DRIVER',
    exitCode: ExitCode.precondition,
    hints: [
      'Use `machine.driver: auto`, or name a cluster that is there: `cluster: {kind: existing, …}`, docs/guide/teams.md.',
    ],
  })
}
