import {mkdir, readdir} from 'node:fs/promises'
import {join} from 'node:path'
import type {Command, CommandResult, Runner} from '../../core/runner.js'
import {readIfThere} from '../state/files.js'
import {guestFailure} from './guest-failure.js'
import type {VagrantBox} from './render.js'
import {chooseProvider} from './vagrant-provider.js'

export interface VagrantToolOptions {
  runner: Runner
  /** A VAGRANT_HOME of cage's own: the person's global Vagrantfile would be merged into every guest */
  home: string
  platform: string
}

const QUICK_MS = 120_000
const BOX_MS = 30 * 60_000

/** Variables of the person's own Vagrant that would change what runs here. */
const foreign = ['VAGRANT_VAGRANTFILE', 'VAGRANT_LOG', 'VAGRANT_FORCE_COLOR', 'VAGRANT_SERVER_URL']

/** The program `vagrant` with cage's own home: its provider, its boxes, and cage's notes about each guest. */
export class VagrantTool {
  private readonly options: VagrantToolOptions

  constructor(options: VagrantToolOptions) {
    this.options = options
  }

  /** Vagrant's and cage's notes about a guest; outside of the project's directory, so that it is found when that was lost. */
  notes(guest: string): string {
    return join(this.options.home, 'cage', guest)
  }

  /** `set` are variables of this call. */
  run(
    args: readonly string[],
    set: Readonly<Record<string, string>>,
    more: Partial<Command>,
  ): Promise<CommandResult> {
    const {home, runner} = this.options
    const common = {
      VAGRANT_HOME: home,
      VAGRANT_CHECKPOINT_DISABLE: '1',
      VAGRANT_BOX_UPDATE_CHECK_DISABLE: '1',
    }
    const unset = foreign.flatMap((name) => ['-u', name])
    const environment = Object.entries({...common, ...set}).map(([name, value]) => `${name}=${value}`)
    return runner.run({...more, argv: ['env', ...unset, ...environment, 'vagrant', '--no-color', ...args]})
  }

  /** What a new guest gets. Errors: VAGRANT_PROVIDER, exit 3. */
  async provider(): Promise<string> {
    const {runner, platform, home} = this.options
    const plugins = await this.ok(['plugin', 'list'], {timeoutMs: QUICK_MS})
    return chooseProvider(runner, platform, plugins.stdout.toString(), home)
  }

  async addBox(name: string, file: string, signal: AbortSignal): Promise<void> {
    await this.ok(['box', 'add', '--force', '--name', name, file], {signal, timeoutMs: BOX_MS})
  }

  async removeBox(name: string): Promise<void> {
    await this.ok(['box', 'remove', '--force', '--all', name], {timeoutMs: QUICK_MS})
  }

  /** Where libvirt's files of a box are; undefined when it was never added. */
  async boxDirectory(name: string): Promise<string | undefined> {
    const box = join(this.options.home, 'boxes', name.replace('/', '-VAGRANTSLASH-'))
    for (const version of await readdir(box).catch(() => []))
      // Vagrant 2.4 has a folder for the architecture between.
      for (const inner of ['', ...(await readdir(join(box, version)).catch(() => []))]) {
        const directory = join(box, version, inner, 'libvirt')
        if ((await readIfThere(join(directory, 'metadata.json'))) !== undefined) return directory
      }
    return undefined
  }

  /** The name of the box that a guest was made from, where it is one of a person's own or a base. */
  async boxOfGuest(id: string): Promise<string | undefined> {
    const kept = await readIfThere(join(this.notes(`cage-${id}`), 'box.json'))
    return kept === undefined ? undefined : (JSON.parse(kept) as VagrantBox).name
  }

  /** Guests that were made from a box. */
  async guestsOf(name: string): Promise<string[]> {
    const guests = await readdir(join(this.options.home, 'cage')).catch(() => [])
    const boxes = await Promise.all(guests.map((guest) => this.boxOfGuest(guest.replace(/^cage-/, ''))))
    return guests.filter((_, index) => boxes[index] === name)
  }

  private async ok(args: readonly string[], more: Partial<Command>): Promise<CommandResult> {
    // No project's Vagrantfile has a say here; before the first guest the folder is not there yet.
    await mkdir(this.options.home, {recursive: true, mode: 0o700})
    const result = await this.run(args, {VAGRANT_CWD: this.options.home}, more)
    if (result.code === 0) return result
    throw await guestFailure('vagrant', args, result, [])
  }
}
