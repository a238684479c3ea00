import {mkdir, rename, rm, stat, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError} from '../../core/errors.js'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import {readIfThere} from '../state/files.js'
import type {MachineWork} from './machine.js'
import {guestName} from './virtual-machine.js'
import type {VagrantTool} from './vagrant-tool.js'

/**
 * Disks of prepared guests, from which a driver makes others.
 * - `keep` MUST be whole or not at all, MUST leave the guest as it is, and replaces a base of that name.
 * - A guest made from a base MUST NOT be able to change it.
 * - `remove` MUST leave nothing of it, also of one whose `keep` was cut off.
 */
export interface GuestBases {
  /** false where the disk of a guest cannot be had */
  possible(): Promise<boolean>
  has(name: string): Promise<boolean>
  /** how the driver calls it: the path of an image, or the name of a box */
  source(name: string): string
  /** `id` of a guest that is stopped */
  keep(name: string, id: string, work: MachineWork): Promise<void>
  /** bytes on this computer's disk, once it is kept */
  size(name: string): Promise<number>
  /** guests that cannot live without it */
  users(name: string): Promise<string[]>
  remove(name: string, work: MachineWork): Promise<void>
}

const COPY_MS = 30 * 60_000

/** Lima copies an image into each guest, so a base is a file and nobody depends on it. */
export class LimaBases implements GuestBases {
  private readonly runner: Runner
  private readonly home: string
  private readonly directory: string
  private readonly platform: string

  /** `directory` holds the files; `home` is cage's LIMA_HOME. */
  constructor(options: {runner: Runner; home: string; directory: string; platform: string}) {
    this.runner = options.runner
    this.home = options.home
    this.directory = options.directory
    this.platform = options.platform
  }

  /** Of QEMU's disks. */
  possible(): Promise<boolean> {
    return Promise.resolve(this.platform === 'linux')
  }

  async has(name: string): Promise<boolean> {
    return isThere(this.source(name))
  }

  source(name: string): string {
    return join(this.directory, `${name}.qcow2`)
  }

  async keep(name: string, id: string, {signal, detail}: MachineWork): Promise<void> {
    const place = join(this.home, guestName(id))
    // Lima 2.0 called it `diffdisk`, above a `basedisk`.
    const disk = join(place, (await isThere(join(place, 'disk'))) ? 'disk' : 'diffdisk')
    const draft = `${this.source(name)}.new`
    await mkdir(this.directory, {recursive: true, mode: 0o700})
    detail('copying the disk')
    const argv = ['qemu-img', 'convert', '-O', 'qcow2', disk, draft] as const
    await runOk(this.runner, {argv, signal, timeoutMs: COPY_MS})
    await rename(draft, this.source(name))
  }

  async size(name: string): Promise<number> {
    return bytesOf(this.source(name))
  }

  users(): Promise<string[]> {
    return Promise.resolve([])
  }

  async remove(name: string): Promise<void> {
    for (const file of [this.source(name), `${this.source(name)}.new`]) await rm(file, {force: true})
  }
}

/** A base under Vagrant is a box. Of libvirt's guests: their disks lie in its pool, and are layers above the box's. */
export class VagrantBases implements GuestBases {
  private readonly tool: VagrantTool
  private readonly runner: Runner
  private readonly directory: string

  /** `directory` is room for drafts. */
  constructor(options: {runner: Runner; tool: VagrantTool; directory: string}) {
    this.runner = options.runner
    this.tool = options.tool
    this.directory = options.directory
  }

  async possible(): Promise<boolean> {
    return (await this.tool.provider().catch(() => undefined)) === 'libvirt'
  }

  async has(name: string): Promise<boolean> {
    return (await this.tool.boxDirectory(this.source(name))) !== undefined
  }

  source(name: string): string {
    return `cage/${name}`
  }

  async keep(name: string, id: string, {signal, detail}: MachineWork): Promise<void> {
    const [disk, flat] = [`cage-${id}.img`, `cage-${name}-flat.img`]
    const draft = join(this.directory, `${name}.new`)
    await this.drop(flat)
    await rm(draft, {recursive: true, force: true})
    await mkdir(draft, {recursive: true, mode: 0o700})
    try {
      detail('copying the disk')
      const facts = await this.virsh(['vol-dumpxml', '--pool', 'default', disk], signal)
      const bytes = Number(/<capacity[^>]*>(\d+)<\/capacity>/.exec(facts)?.[1])
      const volume = `<volume><name>${flat}</name><capacity>${bytes}</capacity><allocation>0</allocation>
        <target><format type="qcow2"/></target></volume>\n`
      await writeFile(join(draft, 'flat.xml'), volume)
      await this.virsh(
        ['vol-create-from', 'default', join(draft, 'flat.xml'), disk, '--inputpool', 'default'],
        signal,
      )
      await this.virsh(['vol-download', '--pool', 'default', flat, join(draft, 'box.img')], signal)
      await this.drop(flat)
      await rm(join(draft, 'flat.xml'))
      await this.describe(draft, id, Math.ceil(bytes / 1024 ** 3))
      detail('keeping it as a box')
      const box = join(this.directory, `${name}.box`)
      const files = ['metadata.json', 'Vagrantfile', 'box.img'] as const
      await runOk(this.runner, {argv: ['tar', '-C', draft, '-cf', box, ...files], signal, timeoutMs: COPY_MS})
      await rm(draft, {recursive: true})
      await this.tool.addBox(this.source(name), box, signal)
    } finally {
      await this.drop(flat)
      await rm(draft, {recursive: true, force: true})
      await rm(join(this.directory, `${name}.box`), {force: true})
    }
  }

  /** Of the box; libvirt keeps as much again once a guest was made from it. */
  async size(name: string): Promise<number> {
    const directory = await this.tool.boxDirectory(this.source(name))
    return directory === undefined ? 0 : bytesOf(join(directory, 'box.img'))
  }

  async users(name: string): Promise<string[]> {
    return this.tool.guestsOf(this.source(name))
  }

  async remove(name: string): Promise<void> {
    const box = this.source(name)
    if ((await this.tool.boxDirectory(box)) !== undefined) await this.tool.removeBox(box)
    const prefix = `${box.replace('/', '-VAGRANTSLASH-')}_vagrant_box_image_`
    const listed = await this.virsh(['vol-list', '--pool', 'default'])
    for (const volume of listed.split('\n').map((line) => line.trim().split(/\s+/)[0] ?? ''))
      if (volume.startsWith(prefix)) await this.virsh(['vol-delete', '--pool', 'default', volume])
    await this.drop(`cage-${name}-flat.img`)
    await rm(join(this.directory, `${name}.new`), {recursive: true, force: true})
    await rm(join(this.directory, `${name}.box`), {force: true})
  }

  /** What a box says of itself, as the one said that the guest was made from: it may need its own kernel to boot. */
  private async describe(draft: string, id: string, gibibytes: number): Promise<void> {
    const facts = {provider: 'libvirt', format: 'qcow2', virtual_size: gibibytes}
    await writeFile(join(draft, 'metadata.json'), `${JSON.stringify(facts)}\n`)
    const made = await this.tool.boxOfGuest(id)
    const directory = made && (await this.tool.boxDirectory(made))
    const said = directory && (await readIfThere(join(directory, 'Vagrantfile')))
    await writeFile(join(draft, 'Vagrantfile'), said ?? "Vagrant.configure('2') { |config| }\n")
  }

  private async drop(volume: string): Promise<void> {
    const argv = virsh('vol-delete', '--pool', 'default', volume)
    await this.runner.run({argv, timeoutMs: 60_000}).catch(() => undefined)
  }

  private async virsh(args: readonly string[], signal?: AbortSignal): Promise<string> {
    const command = {argv: virsh(...args), timeoutMs: COPY_MS, ...(signal ? {signal} : {})}
    const {code, stdout, stderr} = await this.runner.run(command)
    if (code === 0) return stdout.toString()
    throw new CageError(`virsh ${args[0] ?? ''}: ${stderr.trim()}`, {code: 'BASE_NOT_KEPT'})
  }
}

function virsh(...args: string[]): [string, ...string[]] {
  return ['virsh', '--connect', 'qemu:///system', ...args]
}

async function bytesOf(file: string): Promise<number> {
  return ((await stat(file).catch(() => undefined))?.blocks ?? 0) * 512
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
