import {access, mkdir, readdir, rm, stat} from 'node:fs/promises'
import {join} from 'node:path'
import {createHash} from 'node:crypto'
import {CageError, ExitCode} from '../../core/errors.js'
import {runOk} from '../../core/process.js'
import type {Command, CommandResult, Runner} from '../../core/runner.js'
import {readIfThere, writePrivate} from '../state/files.js'
import {guestFailure} from './guest-failure.js'
import type {MachineState, MachineWork} from './machine.js'
import {vagrantMachine, type VagrantBox} from './render.js'
import type {GuestAddress, GuestDescription, VirtualMachine} from './virtual-machine.js'
import {VagrantTool} from './vagrant-tool.js'

export interface VagrantOptions {
  runner: Runner
  description: GuestDescription
  /** `machine/` of the project's state directory */
  directory: string
  /** A VAGRANT_HOME of cage's own: the person's global Vagrantfile would be merged into every guest */
  home: string
  /** where cage is installed: holds the Vagrantfile */
  packageRoot: string
  platform: string
  /** this computer can run virtual machines with its own processor; asked at each start */
  hardware: () => Promise<boolean>
  /** the name of a box that Vagrant has, for a guest that is made now instead of from an image */
  base: () => Promise<string | undefined>
}

const QUICK_MS = 120_000
const UP_MS = 40 * 60_000
const HALT_MS = 4 * 60_000

/** A virtual machine under Vagrant, with whatever provider is installed. */
export class VagrantMachine implements VirtualMachine {
  readonly driver = 'vagrant'
  readonly logs: readonly string[]
  private readonly options: VagrantOptions
  private readonly tool: VagrantTool
  /** what Vagrant and libvirt call it: the same name that the Vagrantfile makes */
  private readonly name: string
  /** Vagrant's own notes about this guest; outside of the project's directory, so that it is found when that was lost */
  private readonly notes: string

  constructor(options: VagrantOptions) {
    this.options = options
    this.tool = new VagrantTool(options)
    this.name = `cage-${options.description.id}`
    this.notes = this.tool.notes(this.name)
    this.logs = [join(options.directory, 'vagrant.log')]
  }

  async state(): Promise<MachineState> {
    if (!(await this.isThere())) return 'absent'
    if ((await this.known()) !== 'running') return 'stopped'
    return (await readIfThere(join(this.notes, 'keys'))) === this.keys() ? 'running' : 'broken'
  }

  /** Vagrant fetches and makes everything at the first start: here only how is decided. */
  async create(work: MachineWork): Promise<void> {
    work.detail('looking for a provider')
    await mkdir(this.options.home, {recursive: true, mode: 0o700})
    const provider = await this.provider()
    await mkdir(this.notes, {recursive: true, mode: 0o700})
    const kept = join(this.notes, 'box.json')
    const base = (await readIfThere(kept)) === undefined ? await this.options.base() : undefined
    const box = base === undefined ? await this.box() : {name: base}
    if (box) await writePrivate(kept, JSON.stringify(box))
    await this.layOut(provider)
  }

  async start(work: MachineWork): Promise<void> {
    if ((await this.state()) === 'running') return
    const provider = await this.provider()
    await this.layOut(provider)
    await rm(join(this.notes, 'keys'), {force: true})
    const making = join(this.notes, 'making')
    if ((await this.known()) === 'not_created' && (await this.dropStray())) await writePrivate(making, '')
    const up = ['up', this.name, '--provider', provider, '--no-destroy-on-error', '--provision']
    await this.ok(up, {timeoutMs: UP_MS, ...this.progress(work)})
    await rm(making, {force: true})
    await this.rememberAddress()
    await writePrivate(join(this.notes, 'keys'), this.keys())
  }

  async stop(work: MachineWork): Promise<void> {
    if (!(await this.isThere()) || (await this.known()) !== 'running') return
    work.detail('shutting down')
    const gently = await this.vagrant(['halt', this.name], {timeoutMs: HALT_MS}).catch(() => undefined)
    if (gently?.code !== 0) await this.ok(['halt', '--force', this.name], {timeoutMs: QUICK_MS})
  }

  async destroy(work: MachineWork): Promise<void> {
    if (!(await this.isThere())) return
    if ((await this.known()) !== 'not_created') {
      work.detail('removing its disk')
      await this.ok(['destroy', '--force', this.name], {timeoutMs: HALT_MS})
      if ((await this.known()) !== 'not_created') {
        throw new CageError(`Vagrant still knows ${this.name}`, {
          code: 'MACHINE_NOT_REMOVED',
          hints: [`Look at it with \`VAGRANT_HOME=${this.options.home} vagrant global-status --prune\`.`],
        })
      }
    }
    await this.dropStray()
    await rm(this.notes, {recursive: true, force: true})
  }

  async address(): Promise<GuestAddress> {
    const kept = await readIfThere(join(this.notes, 'address.json'))
    if (kept !== undefined) return JSON.parse(kept) as GuestAddress
    throw new CageError(`the machine of ${this.options.description.project} does not run`, {
      code: 'MACHINE_NOT_RUNNING',
      hints: ['Run `cage up`.'],
    })
  }

  /** The key that everybody knows: Vagrant replaces it at a guest's first boot. */
  async firstLogin(): Promise<{user: string; key: string}> {
    const {runner, home} = this.options
    const known = join(home, 'insecure_private_key')
    const key = await runOk(runner, {argv: ['ssh-keygen', '-y', '-f', known], timeoutMs: QUICK_MS})
    return {user: 'vagrant', key: key.toString().trim()}
  }

  /** Vagrant's own word for its state: `running`, `not_created`, `shutoff`, … */
  private async known(): Promise<string> {
    const {stdout} = await this.ok(['status', this.name, '--machine-readable'], {timeoutMs: QUICK_MS})
    const lines = stdout.toString().split('\n')
    const state = lines
      .map((line) => line.trim().split(','))
      .find(([, target, kind]) => target === this.name && kind === 'state')?.[3]
    if (state !== undefined) return state
    throw new CageError('Vagrant does not say how the machine is', {code: 'MACHINE_DRIVER_FAILED'})
  }

  /** True without asking Vagrant, so that nothing needs it where there is no guest. */
  private async isThere(): Promise<boolean> {
    return access(this.notes).then(
      () => true,
      () => false,
    )
  }

  /**
   * What a Vagrant that was cut off left in libvirt without knowing of it, in the way of the next: a disk, or a guest that
   * this machine's notes say was being made. True when nothing of that name is there any more.
   */
  private async dropStray(): Promise<boolean> {
    const {runner, platform} = this.options
    if (platform !== 'linux') return false
    const virsh = async (...args: string[]) =>
      runner
        .run({argv: ['virsh', '--connect', 'qemu:///system', ...args], timeoutMs: QUICK_MS})
        .catch(() => undefined)
    const guests = await virsh('list', '--all', '--name')
    if (guests?.code !== 0) return false
    if (guests.stdout.toString().split('\n').includes(this.name)) {
      if ((await readIfThere(join(this.notes, 'making'))) === undefined) return false
      await virsh('destroy', this.name)
      await virsh('undefine', this.name, '--nvram')
    }
    await virsh('vol-delete', '--pool', 'default', `${this.name}.img`)
    return true
  }

  /** The provider stays as it was when the guest was made. */
  private async provider(): Promise<string> {
    const machines = join(this.notes, 'machines', this.name)
    for (const provider of await readdir(machines).catch(() => [])) {
      if ((await readIfThere(join(machines, provider, 'id'))) !== undefined) return provider
    }
    return this.tool.provider()
  }

  /** machine.json, as the Vagrantfile reads it. */
  private async layOut(provider: string | undefined): Promise<void> {
    const {description, hardware} = this.options
    const kept = await readIfThere(this.file('machine.json'))
    const before = kept === undefined ? undefined : (JSON.parse(kept) as {emulated: boolean})
    const box = await this.box()
    const emulated = provider === 'libvirt' ? !(await hardware()) : (before?.emulated ?? false)
    const machine = vagrantMachine(description, {emulated, ...(box ? {box} : {})})
    await writePrivate(this.file('machine.json'), machine)
  }

  /** What the guest is made from; undefined for the pinned box. It stays so: a box may say how its guests boot. */
  private async box(): Promise<VagrantBox | undefined> {
    const kept = await readIfThere(join(this.notes, 'box.json'))
    if (kept !== undefined) return JSON.parse(kept) as VagrantBox
    return ownBox(this.options.description.image)
  }

  private async rememberAddress(): Promise<void> {
    const {stdout} = await this.ok(['ssh-config', this.name], {timeoutMs: QUICK_MS})
    const value = (key: string) => new RegExp(`^\\s*${key} (\\S+)$`, 'm').exec(stdout.toString())?.[1]
    const [host, port] = [value('HostName'), Number(value('Port'))]
    if (!host || !Number.isInteger(port)) {
      throw new CageError('Vagrant does not say where the guest’s SSH answers', {
        code: 'MACHINE_DRIVER_FAILED',
      })
    }
    await writePrivate(join(this.notes, 'address.json'), JSON.stringify({host, port}))
  }

  /** Names the keys that the guest has, without containing the private one. */
  private keys(): string {
    const {authorizedKey, hostKey} = this.options.description
    return createHash('sha256').update(`${authorizedKey}\n${hostKey}`).digest('hex')
  }

  private file(name: string): string {
    return join(this.options.directory, name)
  }

  private async vagrant(args: readonly string[], more: Partial<Command>): Promise<CommandResult> {
    const {packageRoot} = this.options
    if ((await readIfThere(this.file('machine.json'))) === undefined) await this.layOut(undefined)
    const provider = args[args.indexOf('--provider') + 1]
    const set = {
      VAGRANT_CWD: packageRoot,
      VAGRANT_DOTFILE_PATH: this.notes,
      CAGE_MACHINE: this.file('machine.json'),
      ...(args.includes('--provider') && provider ? {VAGRANT_DEFAULT_PROVIDER: provider} : {}),
    }
    return this.tool.run(args, set, more)
  }

  private async ok(args: readonly string[], more: Partial<Command>): Promise<CommandResult> {
    const result = await this.vagrant(args, more)
    if (result.code === 0) return result
    await writePrivate(this.file('vagrant.log'), `${result.stdout.toString()}\n${result.stderr}`)
    throw await guestFailure('vagrant', args, result, this.logs)
  }

  private progress({signal, detail}: MachineWork): Partial<Command> {
    const onOutput = (chunk: Buffer) => {
      const said = /^(?:==> |\s+)[^:]+: +(\S.*)$/m.exec(chunk.toString())?.[1]
      if (said) detail(said.slice(0, 100))
    }
    return {signal, onOutput}
  }
}

/** A file of the person's own as a box: another file under the same path is another box. */
export async function ownBox(file: string | undefined): Promise<VagrantBox | undefined> {
  if (file === undefined) return undefined
  const found = await stat(file).catch((cause: unknown) => {
    throw new CageError(`the image ${file} is not there`, {
      code: 'MACHINE_IMAGE',
      exitCode: ExitCode.precondition,
      hints: ['Correct `machine.image` in your own config.yaml.'],
      cause,
    })
  })
  const hash = createHash('sha256').update(`${file}\n${found.size}\n${found.mtimeMs}`).digest('hex')
  return {name: `cage/own-${hash.slice(0, 12)}`, file}
}
