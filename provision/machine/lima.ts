import {access, mkdir, readFile, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode} from '../../core/errors.js'
import type {Command, CommandResult, Runner} from '../../core/runner.js'
import {writePrivate} from '../state/files.js'
import {guestFailure} from './guest-failure.js'
import type {MachineState, MachineWork} from './machine.js'
import {limaParameters, renderLima} from './render.js'
import {guestName, type GuestAddress, type GuestDescription, type VirtualMachine} from './virtual-machine.js'
import {emulator} from './virtualization.js'

export interface LimaOptions {
  runner: Runner
  description: GuestDescription
  /** `machine/` of the project's state directory */
  directory: string
  /**
   * A LIMA_HOME of cage's own, shared by its projects: the person's `_config/override.yaml` would be merged into every
   * guest, mounts included. A short path: sockets lie in it.
   */
  home: string
  /** where cage is installed: holds lima/ and provision/guest */
  packageRoot: string
  /** this computer can run virtual machines with its own processor; asked at each start */
  hardware: () => Promise<boolean>
  /** the disk image of a base, for a guest that is made now */
  base: () => Promise<string | undefined>
}

const QUICK_MS = 60_000
const START_MS = 30 * 60_000
const STOP_MS = 4 * 60_000

/** One line of `limactl list --json`, as far as it matters here. */
interface Instance {
  name: string
  status: string
  sshLocalPort?: number
  cpus?: number
  /** bytes */
  memory?: number
  param?: Record<string, string>
}

/** A virtual machine under Lima: vz on macOS, QEMU elsewhere. */
export class LimaMachine implements VirtualMachine {
  readonly driver = 'lima'
  readonly logs: readonly string[]
  private readonly options: LimaOptions
  private readonly name: string
  /** the instance's own directory */
  private readonly place: string

  constructor(options: LimaOptions) {
    this.options = options
    this.name = guestName(options.description.id)
    this.place = join(options.home, this.name)
    this.logs = ['ha.stderr.log', 'serial.log', 'serialv.log'].map((file) => join(this.place, file))
  }

  async state(): Promise<MachineState> {
    const found = await this.find()
    if (!found) return 'absent'
    if (found.status === 'Stopped') return 'stopped'
    return found.status === 'Running' && this.hasItsKeys(found) ? 'running' : 'broken'
  }

  async create(work: MachineWork): Promise<void> {
    if (await this.find()) return
    // What a creation that was cut off left has no lima.yaml, so that Lima does not know it either.
    await rm(this.place, {recursive: true, force: true})
    await mkdir(this.options.home, {recursive: true, mode: 0o700})
    const file = join(this.options.directory, 'lima.yaml')
    const base = await this.options.base()
    const {description} = this.options
    await writePrivate(
      file,
      await this.rendered(base === undefined ? description : {...description, image: base}),
    )
    work.detail('creating')
    await this.ok(['create', `--name=${this.name}`, file], {timeoutMs: START_MS, ...this.progress(work)})
  }

  async start(work: MachineWork): Promise<void> {
    const found = await this.find()
    if (!found) throw this.missing()
    if (found.status === 'Running' && this.hasItsKeys(found)) return
    if (found.status !== 'Stopped') await this.halt(found.status === 'Running', work)
    // Lima reads it at each start; nothing but the fields of the template is in it.
    if (!this.isAsDescribed(found))
      await writePrivate(join(this.place, 'lima.yaml'), await this.rendered(this.options.description))
    work.detail('booting')
    await this.ok(['start', '--timeout=25m', this.name], {timeoutMs: START_MS, ...this.progress(work)})
  }

  async stop(work: MachineWork): Promise<void> {
    const found = await this.find()
    if (found && found.status !== 'Stopped') await this.halt(found.status === 'Running', work)
  }

  async destroy(work: MachineWork): Promise<void> {
    if (!(await this.isThere())) return
    if (await this.find()) {
      work.detail('removing its disk')
      await this.ok(['delete', '--force', this.name], {timeoutMs: STOP_MS})
    }
    await rm(this.place, {recursive: true, force: true})
    if (!(await this.instances()).some(({name}) => name === this.name)) return
    throw new CageError(`Lima still lists ${this.name}`, {
      code: 'MACHINE_NOT_REMOVED',
      hints: [`Run \`LIMA_HOME=${this.options.home} limactl delete --force ${this.name}\`.`],
    })
  }

  async address(): Promise<GuestAddress> {
    const found = await this.find()
    if (found?.status !== 'Running' || !found.sshLocalPort) throw this.notRunning()
    return {host: '127.0.0.1', port: found.sshLocalPort}
  }

  /** Lima brings its user with each boot. */
  firstLogin(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  /** Undefined when there is none. Errors: MACHINE_NAME_TAKEN when it is not this project's. */
  private async find(): Promise<Instance | undefined> {
    if (!(await this.isThere())) return undefined
    const found = (await this.instances()).find(({name}) => name === this.name)
    const owner = found?.param?.['project']
    if (found && owner !== this.options.description.id) {
      throw new CageError(`the Lima machine ${this.name} belongs to ${owner ?? 'somebody else'}`, {
        code: 'MACHINE_NAME_TAKEN',
        exitCode: ExitCode.precondition,
        hints: [`Look at it with \`LIMA_HOME=${this.options.home} limactl list\`.`],
      })
    }
    return found
  }

  /** True without asking Lima, so that nothing needs it where there is no guest. */
  private async isThere(): Promise<boolean> {
    return access(this.place).then(
      () => true,
      () => false,
    )
  }

  private async instances(): Promise<Instance[]> {
    const {stdout} = await this.ok(['list', '--json'], {timeoutMs: QUICK_MS})
    const lines = stdout.toString().split('\n')
    return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Instance)
  }

  private hasItsKeys({param = {}}: Instance): boolean {
    return Object.entries(limaParameters(this.options.description)).every(
      ([key, value]) => param[key] === value,
    )
  }

  private isAsDescribed(found: Instance): boolean {
    const {cpus, memory} = this.options.description
    return this.hasItsKeys(found) && found.cpus === cpus && found.memory === memory
  }

  private async halt(asked: boolean, work: MachineWork): Promise<void> {
    work.detail('shutting down')
    const gently = asked
      ? await this.limactl(['stop', this.name], {timeoutMs: STOP_MS}).catch(() => undefined)
      : undefined
    if (gently?.code === 0) return
    await this.ok(['stop', '--force', this.name], {timeoutMs: QUICK_MS})
  }

  private async rendered(description: GuestDescription): Promise<string> {
    const {packageRoot} = this.options
    const [template, script] = await Promise.all(
      ['lima/cage.yaml', 'provision/guest/vm/boot.sh'].map((file) =>
        readFile(join(packageRoot, file), 'utf8'),
      ),
    )
    return renderLima(template ?? '', script ?? '', description)
  }

  private async limactl(args: readonly string[], more: Partial<Command>): Promise<CommandResult> {
    const {home, runner, hardware} = this.options
    const emulated = args[0] === 'start' && !(await hardware()) ? emulator(process.arch) : undefined
    return runner.run({
      ...more,
      argv: ['env', `LIMA_HOME=${home}`, ...(emulated ? [emulated] : []), 'limactl', '--tty=false', ...args],
    })
  }

  private async ok(args: readonly string[], more: Partial<Command>): Promise<CommandResult> {
    const result = await this.limactl(args, more)
    if (result.code === 0) return result
    throw await guestFailure('limactl', args, result, this.logs)
  }

  private progress({signal, detail}: MachineWork): Partial<Command> {
    const onOutput = (chunk: Buffer) => {
      const said = /msg="((?:[^"\\]|\\.)*)"/.exec(chunk.toString())?.[1]
      if (said) detail(said.replaceAll('\\"', '"').slice(0, 100))
    }
    return {signal, onOutput}
  }

  private missing(): CageError {
    return new CageError(`there is no virtual machine ${this.name}`, {
      code: 'MACHINE_MISSING',
      exitCode: ExitCode.precondition,
      hints: ['Run `cage up`.'],
    })
  }

  private notRunning(): CageError {
    return new CageError(`the machine of ${this.options.description.project} does not run`, {
      code: 'MACHINE_NOT_RUNNING',
      hints: ['Run `cage up`.'],
    })
  }
}
