import {join} from 'node:path'
import {readdir, stat} from 'node:fs/promises'
import type {ProjectMachine} from '../../provision/provisioning.js'
import type {ProjectFiles} from '../../provision/state/layout.js'
import {BaseCommand} from '../base-command.js'
import {homes} from '../environment.js'
import {stateOf} from '../machine-state.js'
import {ownPlaces} from '../places.js'
import {bytes, table} from '../ui/table.js'

export interface ListedProject {
  project: string
  id: string
  repository: string
  machine: {driver: string; state: string}
  /** bytes on this computer's disk */
  disk: number
  /** absent while the cluster does not answer */
  tasks?: number
  /** RFC 3339, of the last change of its state */
  lastUse: string
}

export default class List extends BaseCommand<typeof List> {
  static override summary = 'List all projects of this computer with their machines'

  public async run(): Promise<ListedProject[]> {
    const {state} = homes()
    const {projectsIn} = await import('../../provision/state/projects.js')
    const ids = await projectsIn(state)
    const projects = (await Promise.all(ids.map((id) => this.look(id)))).filter(
      (found) => found !== undefined,
    )
    if (projects.length === 0)
      this.log('No project has a machine on this computer. `cage up` in a git repository makes one.')
    else
      this.log(
        table(
          ['project', 'machine', 'state', 'disk', 'tasks', 'last use', 'repository'],
          projects.map((one) => [
            one.project,
            one.machine.driver,
            one.machine.state,
            bytes(one.disk),
            one.tasks === undefined ? '-' : String(one.tasks),
            one.lastUse.slice(0, 16).replace('T', ' '),
            one.repository,
          ]),
        ),
      )
    return projects
  }

  private async look(id: string): Promise<ListedProject | undefined> {
    const [{findMachine}, {projectFiles}, {readRecord}] = await Promise.all([
      import('../../provision/provisioning.js'),
      import('../../provision/state/layout.js'),
      import('../../provision/state/machine-record.js'),
    ])
    const files = projectFiles(homes().state, id)
    const record = await readRecord(files.record)
    if (!record) return undefined
    const found = await findMachine(ownPlaces(), id)
    const state = found ? await stateOf(found) : 'none'
    const asked = state === 'running' || state === 'none'
    const tasks = asked ? await countTasks(id, files, found) : undefined
    await found?.machine.close()
    return {
      project: record.project,
      id,
      repository: record.repository,
      machine: {driver: record.driver, state},
      disk: await diskUse(files.directory),
      ...(tasks === undefined ? {} : {tasks}),
      lastUse: (await stat(files.directory)).mtime.toISOString(),
    }
  }
}

async function countTasks(
  id: string,
  files: ProjectFiles,
  found: ProjectMachine | undefined,
): Promise<number | undefined> {
  const [{machineCluster}, {clusterNames, label}] = await Promise.all([
    import('../machine-cluster.js'),
    import('../../core/layout.js'),
  ])
  const machine = () => (found ? Promise.resolve(found) : Promise.reject(new Error('no machine')))
  const cluster = await machineCluster(files, machine).catch(() => undefined)
  try {
    const configs = await cluster?.list({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      namespace: clusterNames.taskNamespace(id),
      labelSelector: `${label.component}=task`,
      signal: AbortSignal.timeout(5000),
    })
    return configs?.length
  } catch {
    return undefined
  } finally {
    await cluster?.close()
  }
}

/** Blocks that are really used, not the nominal size of sparse disks. */
async function diskUse(directory: string): Promise<number> {
  let sum = 0
  for (const entry of await readdir(directory, {withFileTypes: true})) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) sum += await diskUse(path)
    else if (entry.isFile()) sum += (await stat(path)).blocks * 512
  }
  return sum
}
