import {chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {delimiter, join, resolve} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import type {Runner} from '../../core/runner.js'
import {processRunner} from '../../core/process.js'
import type {GuestBases} from '../../provision/machine/guest-bases.js'
import type {GuestDescription, VirtualMachine} from '../../provision/machine/virtual-machine.js'

const GIB = 1024 ** 3

/** What a guest has right now, seen from its hypervisor. */
export interface InForce {
  cpus: number
  memory: number
  authorizedKey: string
  hostKey: string
  /** what was on the disk that it was made from */
  disk: string
}

export interface VirtualMachineWorld {
  /** the driver's own home, shared by all projects */
  home: string
  runner: Runner
}

export interface VirtualMachineUnderTest {
  name: string
  make: (
    world: VirtualMachineWorld,
    directory: string,
    guest: GuestDescription,
    /** what a base is called, for a guest that is made now */
    base?: string,
  ) => VirtualMachine
  /** the same driver's bases; drafts and files of them lie in the directory */
  bases: (world: VirtualMachineWorld, directory: string) => GuestBases
  /** undefined when the hypervisor has no such guest */
  inForce: (home: string, id: string) => Promise<InForce | undefined>
  /** the driver's commands, by what they are for */
  commands: {start: string; stop: string; destroy: string; state: string}
}

export function guestDescription(over: Partial<GuestDescription> = {}): GuestDescription {
  return {
    id: 'shop-0a1b2c3d',
    project: 'shop',
    cpus: 4,
    memory: 8 * GIB,
    disk: 60 * GIB,
    sshPort: 52957,
    authorizedKey: 'ssh-ed25519 AAAAclient cage',
    hostKey: '-----BEGIN OPENSSH PRIVATE KEY-----\nhost\n-----END OPENSSH PRIVATE KEY-----\n',
    ...over,
  }
}

/** What every driver for virtual machines keeps, over a program that behaves like the real one; see `VirtualMachine`. */
export function virtualMachineContract({
  name,
  make,
  bases,
  inForce,
  commands,
}: VirtualMachineUnderTest): void {
  let scratch: string
  let home: string
  const work = {signal: new AbortController().signal, detail: () => undefined}
  const programs = resolve('test/support/machine-programs')
  const runner = withPath(`${programs}${delimiter}${process.env['PATH'] ?? ''}`)
  const directory = (id: string) => join(scratch, 'state', id, 'machine')
  const machine = (over: Partial<GuestDescription> = {}, by = runner) => {
    const guest = guestDescription(over)
    return make({home, runner: by}, directory(guest.id), guest)
  }
  const calls = async () => (await readFile(join(home, '.calls'), 'utf8').catch(() => '')).trim().split('\n')
  const failing = (words: string) =>
    mkdir(home, {recursive: true}).then(() => writeFile(join(home, '.fail'), words))

  beforeEach(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'cage-vm-'))
    home = join(scratch, 'home')
  })
  afterEach(() => rm(scratch, {recursive: true, force: true}))

  describe(`the contract of a virtual machine: ${name}`, () => {
    it('goes from absent to stopped to running to stopped to absent', async () => {
      const one = machine()
      expect(await one.state()).toBe('absent')
      await one.create(work)
      expect(await one.state()).toBe('stopped')
      await one.start(work)
      expect(await one.state()).toBe('running')
      const {port} = await one.address()
      expect(port).toBeGreaterThan(0)
      await one.stop(work)
      expect(await one.state()).toBe('stopped')
      await one.destroy(work)
      expect(await one.state()).toBe('absent')
      expect(await inForce(home, 'shop-0a1b2c3d')).toBeUndefined()
    })

    it('repeats every step without harm', async () => {
      const one = machine()
      for (const step of [
        'create',
        'create',
        'start',
        'start',
        'stop',
        'stop',
        'start',
        'destroy',
        'destroy',
      ] as const) {
        await one[step](work)
      }
      expect(await one.state()).toBe('absent')
    })

    it('asks no program where there is no guest', async () => {
      const none = {...runner, run: () => Promise.reject(new Error('nothing may be asked'))}
      const one = machine({}, none)
      expect(await one.state()).toBe('absent')
      await one.stop(work)
      await one.destroy(work)
    })

    it('gives the guest the keys of cage and what the settings say', async () => {
      const one = machine()
      await one.create(work)
      await one.start(work)
      const {cpus, memory, authorizedKey, hostKey} = guestDescription()
      expect(await inForce(home, 'shop-0a1b2c3d')).toMatchObject({cpus, memory, authorizedKey, hostKey})
    })

    it('hands the private host key over in files of its owner, never on a command line', async () => {
      const seen: string[] = []
      const watching = {
        ...runner,
        run: (command: Parameters<Runner['run']>[0]) => (seen.push(...command.argv), runner.run(command)),
      }
      const one = machine({}, watching)
      await one.create(work)
      await one.start(work)
      const secret = guestDescription().hostKey
      expect(
        seen.filter((word) => word.includes(secret) || word.includes(Buffer.from(secret).toString('base64'))),
      ).toEqual([])
      expect((await stat(home)).mode & 0o077).toBe(0)
    })

    it('is found again when the project’s directory was lost, and gets its new keys', async () => {
      const before = machine()
      await before.create(work)
      await before.start(work)
      await rm(directory('shop-0a1b2c3d'), {recursive: true})
      const fresh = {authorizedKey: 'ssh-ed25519 AAAAnew cage', hostKey: 'another\n'}
      const after = machine(fresh)
      expect(await after.state()).toBe('broken')
      await after.start(work)
      expect(await after.state()).toBe('running')
      expect(await inForce(home, 'shop-0a1b2c3d')).toMatchObject(fresh)
    })

    it('takes new sizes at its next start, and leaves a running guest alone', async () => {
      const one = machine()
      await one.create(work)
      await one.start(work)
      const bigger = machine({cpus: 8, memory: 12 * GIB})
      expect(await bigger.state()).toBe('running')
      await bigger.start(work)
      expect(await inForce(home, 'shop-0a1b2c3d')).toMatchObject({cpus: 4, memory: 8 * GIB})
      await bigger.stop(work)
      await bigger.start(work)
      expect(await inForce(home, 'shop-0a1b2c3d')).toMatchObject({cpus: 8, memory: 12 * GIB})
    })

    it('keeps two projects of one name apart', async () => {
      const one = machine()
      const other = machine({id: 'shop-ffffffff', sshPort: 52958})
      for (const each of [one, other]) {
        await each.create(work)
        await each.start(work)
      }
      await one.destroy(work)
      expect(await one.state()).toBe('absent')
      expect(await other.state()).toBe('running')
    })

    it('goes on after a start that failed, and says where the logs are', async () => {
      const one = machine()
      await one.create(work)
      await failing(commands.start)
      const failure: unknown = await one.start(work).catch((error: unknown) => error)
      expect(failure).toMatchObject({code: 'MACHINE_DRIVER_FAILED'})
      expect((failure as {hints: string[]}).hints.join(' ')).toMatch(/Read \S+\.log/)
      await rm(join(home, '.fail'))
      expect(await one.state()).not.toBe('running')
      await one.start(work)
      expect(await one.state()).toBe('running')
    })

    it('is stopped by force when it does not listen', async () => {
      const one = machine()
      await one.create(work)
      await one.start(work)
      await failing(commands.stop)
      await one.stop(work)
      expect(await one.state()).toBe('stopped')
      expect((await calls()).at(-2) ?? '').toMatch(/--force/)
    })

    it('says so when it is not removed, and keeps what is needed to try again', async () => {
      const one = machine()
      await one.create(work)
      await one.start(work)
      await failing(commands.destroy)
      await expect(one.destroy(work)).rejects.toMatchObject({code: expect.stringMatching(/^MACHINE_/)})
      await rm(join(home, '.fail'))
      await one.destroy(work)
      expect(await inForce(home, 'shop-0a1b2c3d')).toBeUndefined()
    })

    it('never takes a confused answer for an absent guest', async () => {
      const one = machine()
      await one.create(work)
      await one.start(work)
      await failing(commands.state)
      await expect(one.state()).rejects.toMatchObject({code: 'MACHINE_DRIVER_FAILED'})
    })

    it('names the program that is missing', async () => {
      const empty = join(scratch, 'empty')
      await mkdir(empty)
      await writeFile(join(empty, 'env'), '#!/bin/sh\nexec /usr/bin/env "$@"\n')
      await chmod(join(empty, 'env'), 0o755)
      await expect(machine({}, withPath(empty)).create(work)).rejects.toMatchObject({
        code: 'MACHINE_TOOL_MISSING',
        exitCode: 3,
        hints: ['Run `cage doctor`.'],
      })
    })

    it('says that it does not run when its address is asked for', async () => {
      await expect(machine().address()).rejects.toMatchObject({
        code: 'MACHINE_NOT_RUNNING',
        hints: ['Run `cage up`.'],
      })
    })

    it('is made from a base that was kept of another, and leaves the base as it was', async () => {
      const kept = bases({home, runner}, join(scratch, 'bases'))
      expect(await kept.possible()).toBe(true)
      expect(await kept.has('base-0123456789abcdef')).toBe(false)
      const prepared = machine({id: 'base-0123456789abcdef', sshPort: 52960})
      await prepared.create(work)
      await prepared.start(work)
      await prepared.stop(work)
      await kept.keep('base-0123456789abcdef', 'base-0123456789abcdef', work)
      await prepared.destroy(work)
      expect(await kept.has('base-0123456789abcdef')).toBe(true)
      expect(await kept.size('base-0123456789abcdef')).toBeGreaterThan(0)
      const guest = guestDescription()
      const one = make({home, runner}, directory(guest.id), guest, kept.source('base-0123456789abcdef'))
      await one.create(work)
      await one.start(work)
      expect((await inForce(home, guest.id))?.disk).toContain('base-0123456789abcdef')
      await rm(directory(guest.id), {recursive: true})
      expect([[], ['cage-shop-0a1b2c3d']]).toContainEqual(await kept.users('base-0123456789abcdef'))
      await one.destroy(work)
      expect(await kept.users('base-0123456789abcdef')).toEqual([])
      await kept.remove('base-0123456789abcdef', work)
      expect(await kept.has('base-0123456789abcdef')).toBe(false)
      expect(await readdir(join(scratch, 'bases'))).toEqual([])
      expect((await readdir(join(home, 'pool')).catch(() => [])).join()).not.toContain('base-')
    })

    it('keeps no base by halves', async () => {
      const kept = bases({home, runner}, join(scratch, 'bases'))
      const prepared = machine({id: 'base-0123456789abcdef', sshPort: 52960})
      await prepared.create(work)
      await prepared.start(work)
      await prepared.stop(work)
      await failing('copy')
      await expect(kept.keep('base-0123456789abcdef', 'base-0123456789abcdef', work)).rejects.toThrow()
      await rm(join(home, '.fail'))
      expect(await kept.has('base-0123456789abcdef')).toBe(false)
      await kept.remove('base-0123456789abcdef', work)
      expect(await readdir(join(scratch, 'bases')).catch(() => [])).toEqual([])
    })

    it('ends its program when it is interrupted', async () => {
      const one = machine()
      await one.create(work)
      const cut = new AbortController()
      cut.abort()
      await expect(one.start({...work, signal: cut.signal})).rejects.toMatchObject({code: 'INTERRUPTED'})
      await one.start(work)
      expect(await one.state()).toBe('running')
    })
  })

  function withPath(path: string): Runner {
    const env = () =>
      ({...process.env, PATH: path, CAGE_TEST_POOL: join(home, 'pool')}) as Record<string, string>
    return {
      run: (command) => processRunner.run({env: env(), ...command}),
      start: (command) => processRunner.start({env: env(), ...command}),
    }
  }
}
