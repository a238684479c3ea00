import {join} from 'node:path'
import {systemClock, type Clock} from '../core/clock.js'
import {CageError, ExitCode} from '../core/errors.js'
import {processRunner} from '../core/process.js'
import type {Reporter} from '../core/report.js'
import type {Runner} from '../core/runner.js'
import type {Cluster} from '../kube/cluster.js'
import type {ProjectSettings} from '../policy/settings.js'
import type {MachineWanted, Places, ProjectMachine} from '../provision/provisioning.js'
import {projectFiles, type ProjectFiles} from '../provision/state/layout.js'
import {homes, type Homes} from './environment.js'
import {ownPlaces} from './places.js'
import {findRepository, projectId, projectNameOf, type Repository} from './project-identity.js'

export interface ProjectOptions {
  /** the folder a person stands in or named with `-C` */
  folder: string
  reporter: Reporter
  signal: AbortSignal
  env?: Readonly<Record<string, string | undefined>>
}

/** What a command knows about the project it is called for. Heavy parts are loaded when they are asked for. */
export class ProjectContext {
  readonly repository: Repository
  /** `<project>-<8 hex>` */
  readonly id: string
  readonly settings: ProjectSettings
  readonly homes: Homes
  readonly files: ProjectFiles
  readonly places: Places
  readonly reporter: Reporter
  readonly signal: AbortSignal
  readonly runner: Runner = processRunner
  readonly clock: Clock = systemClock
  readonly env: Readonly<Record<string, string>>
  private opened: Promise<Cluster> | undefined
  private made: Promise<ProjectMachine> | undefined

  private constructor(
    options: ProjectOptions,
    found: {
      repository: Repository
      settings: ProjectSettings
      homes: Homes
      env: Record<string, string>
      person: string | undefined
    },
  ) {
    this.repository = found.repository
    this.settings = found.settings
    this.homes = found.homes
    this.env = found.env
    this.id = projectId(found.settings.project, found.repository, found.person)
    this.files = projectFiles(found.homes.state, this.id)
    this.reporter = options.reporter
    this.signal = options.signal
    this.places = ownPlaces(found.homes)
  }

  /** Errors: NO_REPOSITORY, exit 3; every problem of cage.yaml and the operator's file at once, exit 2; above the ceiling, exit 4. */
  static async open(options: ProjectOptions): Promise<ProjectContext> {
    const env = definedOnly(options.env ?? process.env)
    const own = homes(env)
    const repository = await findRepository(processRunner, options.folder)
    const {loadProject} = await import('../policy/load.js')
    const settings = await loadProject({
      directory: repository.directory,
      operatorFile: join(own.config, 'cage', 'config.yaml'),
      home: own.user,
      defaultName: projectNameOf(repository),
    })
    const {personId} = await import('../provision/state/person.js')
    const person = settings.cluster.kind === 'existing' ? await personId(own.state) : undefined
    return new ProjectContext(options, {repository, settings, homes: own, env, person})
  }

  /** The project's machine. Errors: MACHINE_MISSING, also with cluster `existing`, exit 3. */
  async machine(): Promise<ProjectMachine> {
    const found = await this.machineIfMade()
    if (found) return found
    if (this.settings.cluster.kind === 'existing') {
      throw new CageError(`project ${this.settings.project} has no machine: its cluster was there`, {
        code: 'MACHINE_MISSING',
        exitCode: ExitCode.precondition,
        hints: ['Use kubectl with the kubeconfig that `cluster.kubeconfig` names.'],
      })
    }
    throw new CageError(`project ${this.settings.project} has no machine yet`, {
      code: 'MACHINE_MISSING',
      exitCode: ExitCode.precondition,
      hints: ['Run `cage up`.'],
    })
  }

  /** The same, undefined when there is none. One connection serves the whole command. */
  async machineIfMade(): Promise<ProjectMachine | undefined> {
    if (this.made) return this.made
    const {findMachine} = await import('../provision/provisioning.js')
    const found = await findMachine(this.places, this.id)
    if (found) this.made ??= Promise.resolve(found)
    return this.made
  }

  /** The project's machine, its record made when there is none. */
  openMachine(wanted: MachineWanted): Promise<ProjectMachine> {
    this.made ??= import('../provision/provisioning.js').then(({openMachine}) =>
      openMachine(this.places, wanted, this.signal),
    )
    return this.made
  }

  /** The project's cluster, as `cage up` found or made it. Errors: CLUSTER_MISSING, exit 3. */
  cluster(): Promise<Cluster> {
    this.opened ??= this.connect()
    return this.opened
  }

  async close(): Promise<void> {
    await (await this.opened?.catch(() => undefined))?.close()
    await (await this.made?.catch(() => undefined))?.machine.close()
  }

  private async connect(): Promise<Cluster> {
    const {kubeAccess} = await import('../provision/state/kube-access.js')
    if ((await kubeAccess(this.files)) === undefined) {
      throw new CageError(`project ${this.settings.project} has no cluster yet`, {
        code: 'CLUSTER_MISSING',
        exitCode: ExitCode.precondition,
        hints: ['Run `cage up`.'],
      })
    }
    const {machineCluster} = await import('./machine-cluster.js')
    return machineCluster(this.files, () => this.machine())
  }
}

function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((pair): pair is [string, string] => pair[1] !== undefined),
  )
}
