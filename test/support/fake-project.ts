import {mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Config, type Command} from '@oclif/core'
import {captureOutput} from '@oclif/test'
import type {ProjectContext} from '../../cli/project-context.js'
import {processRunner} from '../../core/process.js'
import {silentReporter} from '../../core/report.js'
import {projectFiles} from '../../provision/state/layout.js'
import type {Transport} from '../../provision/transport/transport.js'
import {FakeRunner} from './fake-runner.js'
import type {TaskWorld} from './task-world.js'

/** What a command left behind. */
export interface CommandOutcome {
  code: number
  stdout: string
  stderr: string
}

/** Commands of the CLI in this process, with a project whose cluster is the one of a task world. */
export class FakeProject {
  readonly folder = mkdtempSync(join(tmpdir(), 'cage-cli-'))
  readonly signal = new AbortController()
  private readonly world: TaskWorld
  private readonly directory: string

  /** `directory`: the person's repository; default: an empty folder */
  constructor(world: TaskWorld, directory?: string) {
    this.world = world
    this.directory = directory ?? this.folder
  }

  get files() {
    return projectFiles(this.folder, this.world.id)
  }

  async run(
    command: typeof Command & {run: (argv: string[], config: Config) => Promise<unknown>},
    ...argv: string[]
  ): Promise<CommandOutcome> {
    const config = await Config.load({root: process.cwd()})
    const project = this.context()
    const Testable = class extends (command as unknown as new (argv: string[], config: Config) => Command) {
      openProject(): Promise<ProjectContext> {
        return Promise.resolve(project)
      }
      override run(): Promise<unknown> {
        throw new Error('unreachable')
      }
    }
    // The prototype chain must find the command's own run.
    delete (Testable.prototype as {run?: unknown}).run
    Object.assign(Testable, {id: command.id})
    process.exitCode = undefined
    const {stdout, stderr, error} = await captureOutput(
      () => (Testable as unknown as typeof command).run(argv, config),
      {print: false},
    )
    const exit = (error as {oclif?: {exit?: number}} | undefined)?.oclif?.exit
    const code = error ? (exit ?? 1) : exitCodeNow()
    process.exitCode = undefined
    return {code, stdout, stderr: stderr + (error && error.code !== 'EEXIT' ? `${error.message}\n` : '')}
  }

  private context(): ProjectContext {
    const project = {
      id: this.world.id,
      files: this.files,
      settings: {
        project: 'shop',
        repository: {upstream: 'hosted', base: 'main', read: [], mode: 'direct'},
        task: {agent: 'shell'},
      },
      repository: {directory: this.directory, commonDirectory: join(this.directory, '.git')},
      reporter: silentReporter,
      clock: this.world.clock,
      runner: processRunner,
      env: {PATH: process.env['PATH'] ?? ''},
      signal: this.signal.signal,
      cluster: () => Promise.resolve(this.world.cluster),
      machine: () => Promise.resolve({machine: {transport: this.transport()}}),
    }
    return project as unknown as ProjectContext
  }

  /** A machine on which every command succeeds, and whose volumes hold the world's ledger. */
  private transport(): Pick<Transport, 'run' | 'start'> {
    const runner = new FakeRunner()
    runner.answer = ({argv}) => {
      const {ledger} = this.world
      if (argv[1] !== 'read') return {}
      return ledger === undefined ? {code: 1, stderr: 'volume: not mounted'} : {stdout: ledger}
    }
    return {run: (command) => runner.run(command), start: (command) => Promise.resolve(runner.start(command))}
  }

  remove(): void {
    rmSync(this.folder, {force: true, recursive: true})
  }
}

function exitCodeNow(): number {
  const {exitCode} = process
  return typeof exitCode === 'number' ? exitCode : 0
}
