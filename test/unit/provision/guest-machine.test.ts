import {mkdtemp, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {createServer, type Server} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {guestKeys} from '../../../provision/machine/guest-keys.js'
import {GuestMachine} from '../../../provision/machine/guest-machine.js'
import type {Machine, MachineState} from '../../../provision/machine/machine.js'
import type {GuestUpkeep} from '../../../provision/machine/upkeep.js'
import type {Transport} from '../../../provision/transport/transport.js'
import type {VirtualMachine} from '../../../provision/machine/virtual-machine.js'
import {projectFiles} from '../../../provision/state/layout.js'
import {writeRecord} from '../../../provision/state/machine-record.js'
import {freeSshPort} from '../../../provision/state/ssh-port.js'
import {networkOf} from '../../../provision/state/network.js'

const work = {signal: new AbortController().signal, detail: () => undefined}

/** A guest and a node that remember what was asked of them. */
function world(guest: MachineState, node: MachineState) {
  const asked: string[] = []
  const state = {guest, node}
  const act = (who: 'guest' | 'node', what: string, after?: MachineState) => () => {
    asked.push(`${who} ${what}`)
    if (after) state[who] = after
    return Promise.resolve()
  }
  const look = () => {
    if (state.guest !== 'running') throw new Error('the guest does not answer')
    return Promise.resolve(state.node)
  }
  const machine = new GuestMachine(
    {
      driver: 'lima',
      logs: [],
      state: () => Promise.resolve(state.guest),
      create: act('guest', 'create', 'stopped'),
      start: act('guest', 'start', 'running'),
      stop: act('guest', 'stop', 'stopped'),
      destroy: act('guest', 'destroy', 'absent'),
      address: () => Promise.resolve({host: '127.0.0.1', port: 1}),
      firstLogin: () => Promise.resolve(undefined),
    } satisfies VirtualMachine,
    {
      state: look,
      create: act('node', 'create', 'stopped'),
      start: act('node', 'start', 'running'),
      stop: act('node', 'stop', 'stopped'),
      destroy: act('node', 'destroy', 'absent'),
      close: act('node', 'close'),
    } as unknown as Machine,
    {apply: act('guest', 'upkeep')} as unknown as GuestUpkeep,
    {} as Transport,
  )
  return {machine, asked, state}
}

describe('a node in a virtual machine', () => {
  it('is made guest first, then the node in it', async () => {
    const {machine, asked} = world('absent', 'absent')
    expect(await machine.state()).toBe('absent')
    await machine.create(work)
    expect(await machine.state()).toBe('stopped')
    await machine.start(work)
    expect(await machine.state()).toBe('running')
    expect(asked).toEqual(['guest create', 'guest start', 'node create', 'node start', 'guest upkeep'])
  })

  it.each<[MachineState, MachineState, MachineState]>([
    ['stopped', 'running', 'stopped'],
    ['broken', 'running', 'broken'],
    ['running', 'absent', 'stopped'],
    ['running', 'stopped', 'stopped'],
    ['running', 'broken', 'broken'],
    ['running', 'running', 'running'],
  ])('with a guest that is %s and a node that is %s is %s', async (guest, node, whole) => {
    expect(await world(guest, node).machine.state()).toBe(whole)
  })

  it('lets the pods end before its guest goes, and its connection before both', async () => {
    const {machine, asked} = world('running', 'running')
    await machine.stop(work)
    expect(asked).toEqual(['node stop', 'node close', 'guest stop'])
  })

  it('asks nothing of a node in a guest that is off or has other keys', async () => {
    for (const guest of ['stopped', 'broken'] as const) {
      const {machine, asked} = world(guest, 'running')
      await machine.stop(work)
      await machine.destroy(work)
      expect(asked).toEqual(['node close', 'guest stop', 'node close', 'guest destroy'])
    }
  })
})

describe('what a virtual machine gets of this computer', () => {
  let home: string
  beforeEach(async () => (home = await mkdtemp(join(tmpdir(), 'cage-guest-'))))
  afterEach(() => rm(home, {recursive: true, force: true}))

  it('are keys of its own that stay the same', async () => {
    const files = projectFiles(home, 'shop-0a1b2c3d')
    const keys = await guestKeys(files, 'shop-0a1b2c3d')
    expect(await guestKeys(files, 'shop-0a1b2c3d')).toEqual(keys)
    expect(keys.authorizedKey).toMatch(/^ssh-ed25519 \S+ cage-shop-0a1b2c3d$/)
    expect(keys.pinned).toMatch(/^ssh-ed25519 \S+$/)
    expect(keys.hostKey).toMatch(/^-----BEGIN OPENSSH PRIVATE KEY-----/)
    expect(await readFile(files.sshKnownHosts, 'utf8')).toBe(`cage-shop-0a1b2c3d ${keys.pinned}\n`)
    expect((await stat(files.sshHostKey)).mode & 0o777).toBe(0o600)
    const other = await guestKeys(projectFiles(home, 'shop-ffffffff'), 'shop-ffffffff')
    expect(other.authorizedKey).not.toBe(keys.authorizedKey)
  })

  it('are new keys when one of them is missing, never half of the old ones', async () => {
    const files = projectFiles(home, 'shop-0a1b2c3d')
    const before = await guestKeys(files, 'shop-0a1b2c3d')
    await rm(files.sshHostKey)
    const after = await guestKeys(files, 'shop-0a1b2c3d')
    expect(after.authorizedKey).not.toBe(before.authorizedKey)
    expect(after.pinned).not.toBe(before.pinned)
  })

  it('is a port that no other project has and nothing listens on', async () => {
    const id = 'shop-0a1b2c3d'
    const first = await freeSshPort(home, id)
    expect(await freeSshPort(home, id)).toBe(first)
    expect(first).toBeGreaterThanOrEqual(50_000)
    const sizes = {cpus: 1, memory: 1, disk: 1}
    const other = {
      version: 1,
      id: 'other-00000001',
      project: 'other',
      repository: '/other',
      ...sizes,
    } as const
    const record = {
      ...other,
      driver: 'lima',
      cluster: 'kubeadm',
      network: networkOf(200),
      sshPort: first,
    } as const
    await writeRecord(projectFiles(home, other.id).record, record)
    const second = await freeSshPort(home, id)
    expect(second).not.toBe(first)
    const server: Server = createServer()
    await new Promise<void>((ready) => server.listen({port: second, host: '127.0.0.1'}, ready))
    expect([first, second]).not.toContain(await freeSshPort(home, id))
    await new Promise((closed) => server.close(closed))
    await writeFile(projectFiles(home, other.id).record, 'damaged')
    expect(await freeSshPort(home, id)).toBe(first)
  })
})
