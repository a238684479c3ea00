import {mkdtemp, readdir, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {delimiter, join, resolve} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {systemClock} from '../../../core/clock.js'
import {processRunner} from '../../../core/process.js'
import type {Runner} from '../../../core/runner.js'
import {guestHomes, guestOf, virtualMachine} from '../../../provision/machine/guests.js'
import {guestKeys} from '../../../provision/machine/guest-keys.js'
import {destroyMachine, findMachine, openMachine, type Places} from '../../../provision/provisioning.js'
import {projectFiles} from '../../../provision/state/layout.js'

const GIB = 1024 ** 3
const work = {signal: new AbortController().signal, detail: () => undefined}
const env = {
  ...process.env,
  PATH: `${resolve('test/support/machine-programs')}${delimiter}${process.env['PATH'] ?? ''}`,
} as Record<string, string>
const runner: Runner = {
  run: (command) => processRunner.run({env, ...command}),
  start: (command) => processRunner.start({env, ...command}),
}
const id = 'shop-0a1b2c3d'

describe.each(['lima', 'vagrant'] as const)('a project whose folder in the state was lost: %s', (driver) => {
  let scratch: string
  let places: Places
  const wanted = {
    ...{id, project: 'shop', repository: '/src/shop', driver, cluster: 'kubeadm' as const},
    ...{cpus: 2, memory: 4 * GIB, disk: 20 * GIB},
  }
  const opened = () => openMachine(places, wanted, work.signal)
  /** the guest alone: a node needs a real one */
  const guest = async () => {
    const {record, files} = await opened()
    const description = guestOf(record, await guestKeys(files, id))
    return virtualMachine(driver, description, files.machine, {
      ...places,
      platform: 'linux',
      arch: 'x64',
    })
  }
  beforeEach(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'cage-lost-'))
    places = {
      stateHome: join(scratch, 'state'),
      cacheHome: join(scratch, 'cache'),
      packageRoot: resolve('.'),
      runner,
      clock: systemClock,
    }
    const made = await guest()
    await made.create(work)
    await made.start(work)
  })
  afterEach(() => rm(scratch, {recursive: true, force: true}))
  const lose = () => rm(projectFiles(places.stateHome, id).directory, {recursive: true})

  it('is made again over the same guest, with the same network and new keys', async () => {
    const before = await opened()
    const keys = await guestKeys(before.files, id)
    await lose()
    expect(await findMachine(places, id)).toBeUndefined()
    const after = await opened()
    expect(after.record.network).toEqual(before.record.network)
    expect((await guestKeys(after.files, id)).pinned).not.toBe(keys.pinned)
    expect(await after.machine.state()).toBe('broken')
    await (await guest()).start(work)
    expect(await (await guest()).state()).toBe('running')
  })

  it('is destroyed with its guest', async () => {
    await lose()
    expect(await destroyMachine(places, id, work)).toContain(`virtual machine ${id} of ${driver}`)
    const home = guestHomes(places.stateHome)[driver]
    const left = await readdir(driver === 'lima' ? home : join(home, 'guests'))
    expect(left.filter((name) => name.includes(id))).toEqual([])
    expect(await destroyMachine(places, id, work)).toEqual([projectFiles(places.stateHome, id).directory])
  })
})
