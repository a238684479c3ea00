import {readdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode} from '../core/errors.js'
import {importControlPlane} from './cluster/kubeadm.js'
import {baseName, type BaseInputs} from './machine/base-name.js'
import {thisComputer} from './machine/choose-driver.js'
import {basesDirectory, guestBases} from './machine/guests.js'
import {nodeInGuest, openRecord, type MachineWanted, type Places} from './provisioning.js'
import {readIfThere, writePrivate} from './state/files.js'
import {projectFiles} from './state/layout.js'
import {takeLock, whenFree} from './state/lock.js'
import {readMachineRecord, writeRecord, type MachineRecord} from './state/machine-record.js'
import {FIRST_NETWORK, networkOf} from './state/network.js'
import {freeSshPort} from './state/ssh-port.js'
import type {Step, StepTools} from './pipeline.js'
import {imagesStep} from './steps/images.js'

/** What is kept on this computer for the next projects. */
export interface BaseImage extends BaseInputs {
  /** `base-<16 hex>` of what went into it */
  name: string
  /** RFC 3339 */
  made: string
  /** bytes on this computer's disk */
  size: number
}

const GIB = 1024 ** 3
/** A guest made from a base may have a larger disk, never a smaller one. */
const SMALLEST_DISK = 24 * GIB
const POWER_OFF_MS = 120_000

/**
 * The base image for a machine, as a step: makes a guest that belongs to no project, puts into it what every project needs,
 * keeps its disk and removes the guest. Errors: BASE_IMPOSSIBLE, exit 3, where a machine cannot have one.
 */
export async function baseImageStep(
  places: Places,
  wanted: MachineWanted,
): Promise<{name: string; step: Step}> {
  const inputs = inputsOf(wanted)
  const name = await baseName(inputs, places)
  const bases = basesOf(places, inputs.driver)
  if (name === undefined) throw impossible(`the image ${inputs.image ?? ''} is not there`)
  if (wanted.disk < SMALLEST_DISK)
    throw impossible(`its disk would be smaller than ${SMALLEST_DISK / GIB} GiB`)
  if (!(await bases.possible())) throw impossible('only disks of QEMU under Lima and of libvirt can be kept')
  const step: Step = {
    name: 'base image',
    // The first one of a computer waits for Kubernetes to be compiled, and for images to be built.
    deadlineMs: 90 * 60_000,
    hints: ['Run `cage doctor`.'],
    check: () => bases.has(name),
    act: async (work) => {
      const take = () => takeLock(lockFile(places, name), 'make a base image')
      const lock = await whenFree(take, places, work.signal)
      try {
        if (!(await bases.has(name))) await make(places, wanted, {...inputs, name}, work)
      } finally {
        await lock.release()
      }
      return name
    },
  }
  return {name, step}
}

/** What of it failed or was cut off leaves nothing. */
async function make(
  places: Places,
  wanted: MachineWanted,
  inputs: BaseInputs & {name: string},
  work: StepTools,
): Promise<void> {
  const {name, driver} = inputs
  const bases = basesOf(places, driver)
  await bases.remove(name, work)
  const parts = await emptyGuest(places, wanted, name, driver)
  const {machine} = parts
  try {
    await machine.destroy(work)
    await machine.create(work)
    await machine.start(work)
    await fill(places, parts, work)
    await seal(places, parts, work)
    await bases.keep(name, name, work)
    const made = new Date(places.clock.now()).toISOString()
    const facts: BaseImage = {...inputs, made, size: await bases.size(name)}
    await writePrivate(factsFile(places, name), `${JSON.stringify(facts, undefined, 2)}\n`)
  } finally {
    // Also after an interruption, whose signal would stop the clean-up.
    await machine.destroy({signal: new AbortController().signal, detail: work.detail})
    await rm(projectFiles(places.stateHome, name).directory, {recursive: true, force: true})
  }
}

/** A base image, and whether anybody needs it. */
export interface KeptBase extends BaseImage {
  /**
   * `current`: the next `cage up` of a project with these inputs takes it. `in use`: guests cannot live without it.
   * `unfinished`: a cage that was killed left the guest in which it was made.
   */
  state: 'current' | 'in use' | 'unused' | 'unfinished'
}

export async function listBases(places: Places): Promise<KeptBase[]> {
  const files = await readdir(basesDirectory(places.stateHome)).catch(() => [])
  const kept = files.flatMap((file) => /^(base-[0-9a-f]{16})\.json$/.exec(file)?.[1] ?? [])
  const states = await readdir(join(places.stateHome, 'cage')).catch(() => [])
  const guests = states.filter((name) => /^base-[0-9a-f]{16}$/.test(name))
  return [
    ...(await Promise.all(kept.map((name) => look(places, name)))),
    ...(await Promise.all(guests.map((name) => lookUnfinished(places, name)))).flat(),
  ]
}

async function look(places: Places, name: string): Promise<KeptBase> {
  const facts = JSON.parse((await readIfThere(factsFile(places, name))) ?? '{}') as BaseImage
  const users = await basesOf(places, facts.driver).users(name)
  const current = (await baseName(facts, places)) === name
  return {...facts, state: users.length > 0 ? 'in use' : current ? 'current' : 'unused'}
}

async function lookUnfinished(places: Places, name: string): Promise<KeptBase[]> {
  const record = await readMachineRecord(projectFiles(places.stateHome, name).record)
  if (record?.driver !== 'lima' && record?.driver !== 'vagrant') return []
  const lock = await takeLock(lockFile(places, name), 'look at a base image').catch(() => undefined)
  // Somebody makes it right now.
  if (!lock) return []
  await lock.release()
  const made = new Date(places.clock.now()).toISOString()
  return [{driver: record.driver, name, made, size: 0, state: 'unfinished'}]
}

export async function removeBase(places: Places, base: KeptBase, work: StepTools): Promise<void> {
  const files = projectFiles(places.stateHome, base.name)
  const record = await readMachineRecord(files.record)
  if (record) {
    const {machine} = await openRecord(places, record)
    await machine.destroy(work)
    await rm(files.directory, {recursive: true, force: true})
  }
  await basesOf(places, base.driver).remove(base.name, work)
  await rm(factsFile(places, base.name), {force: true})
}

async function emptyGuest(
  places: Places,
  wanted: MachineWanted,
  name: string,
  driver: BaseInputs['driver'],
): Promise<Parts> {
  const {cpus, memory, image} = wanted
  const record: MachineRecord = {
    version: 1,
    id: name,
    project: 'a base image',
    repository: '',
    driver,
    cluster: 'kubeadm',
    cpus,
    memory,
    // The disk of a person's own image may not fit into less.
    disk: image === undefined ? SMALLEST_DISK : wanted.disk,
    ...(image === undefined ? {} : {image}),
    sshPort: await freeSshPort(places.stateHome, name),
    network: networkOf(FIRST_NETWORK),
  }
  await writeRecord(projectFiles(places.stateHome, name).record, record)
  return nodeInGuest(places, record, driver)
}

type Parts = Awaited<ReturnType<typeof nodeInGuest>>

/** The container images of the control plane and of tasks. */
async function fill(places: Places, {machine, node}: Parts, work: StepTools): Promise<void> {
  await importControlPlane(machine, await node.parts(work), work)
  const {packageRoot: root, cacheHome, runner, clock} = places
  const images = imagesStep({
    root,
    cache: join(cacheHome, 'cage', 'images'),
    architecture: (await machine.facts()).architecture,
    upstream: 'hosted',
    transport: machine.transport,
    runner,
    clock,
  })
  if (!(await images.check(work))) await images.act(work)
}

/** The guest powers itself off once nothing of its own is left on its disk. */
async function seal({clock}: Places, {guest, node}: Parts, work: StepTools): Promise<void> {
  await node.seal(work, await guest.firstLogin())
  await node.close()
  const end = clock.now() + POWER_OFF_MS
  while ((await guest.state()) !== 'stopped') {
    if (clock.now() >= end) return guest.stop(work)
    await clock.sleep(1000, work.signal)
  }
}

function inputsOf({driver, cluster, image}: MachineWanted): BaseInputs {
  if (driver !== 'lima' && driver !== 'vagrant')
    throw impossible(`machine \`${driver}\` is no virtual machine`)
  if (cluster !== 'kubeadm') throw impossible(`cluster \`${cluster}\` fetches its own parts`)
  return {driver, ...(image === undefined ? {} : {image})}
}

function impossible(why: string): CageError {
  return new CageError(`no base image can be kept: ${why}`, {
    code: 'BASE_IMPOSSIBLE',
    exitCode: ExitCode.precondition,
    hints: ['`cage up` works without one.'],
  })
}

function basesOf(places: Places, driver: BaseInputs['driver']) {
  return guestBases(driver, {...places, ...thisComputer(places)})
}

function lockFile(places: Places, name: string): string {
  return join(basesDirectory(places.stateHome), `${name}.lock`)
}

function factsFile(places: Places, name: string): string {
  return join(basesDirectory(places.stateHome), `${name}.json`)
}
