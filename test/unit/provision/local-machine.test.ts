import {mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {basename, join, resolve} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {disks} from '../../../provision/machine/local-disks.js'
import {linkName, LocalMachine} from '../../../provision/machine/local.js'
import type {MachineRecord} from '../../../provision/state/machine-record.js'
import {networkOf} from '../../../provision/state/network.js'
import {processIdentity} from '../../../provision/state/process-identity.js'
import {FakeRunner} from '../../support/fake-runner.js'
import {machineContract, type MachineWorld} from '../../support/machine-contract.js'

const GIB = 1024 ** 3
const record: MachineRecord = {
  version: 1,
  id: 'shop-00000001',
  project: 'shop',
  repository: '/src/shop',
  driver: 'local',
  cluster: 'kubeadm',
  cpus: 4,
  memory: 8 * GIB,
  disk: 60 * GIB,
  network: networkOf(200),
}

let home: string
let directory: string
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cage-local-'))
  directory = join(home, record.id)
})
afterEach(() => rm(home, {recursive: true, force: true}))

/** A computer whose programs do what they are told, in so far as a machine notices. */
function world() {
  const runner = new FakeRunner()
  const said: string[] = []
  let now = 0
  const state = {starts: true}
  const limits = new Map<string, {cpus: number; memory: number}>()
  const built: Record<string, (out: string) => Promise<void>> = {
    'build.sh': async (out) => {
      await mkdir(join(out, 'node'), {recursive: true})
      await writeFile(join(out, 'versions'), 'kubernetes v1.36.3\netcd v3.6.5\n')
    },
    'node-root.sh': (out) => mkdir(out, {recursive: true}).then(() => undefined),
    'pack.sh': (out) => mkdir(out, {recursive: true}).then(() => undefined),
  }
  runner.answer = async ({argv, env}) => {
    const own = env?.['CAGE_NODE_DIR'] ?? directory
    const program = argv[0] === 'timeout' ? basename(argv[3] ?? '') : basename(argv[0])
    const args = argv.slice(argv[0] === 'timeout' ? 4 : 1)
    const build = built[program]
    if (build) await build(args[program === 'pack.sh' ? 2 : 0] ?? '')
    if (program === 'truncate') await writeFile(args.at(-1) ?? '', '')
    if (program === 'apt-settings.sh') {
      await mkdir(join(args[1] ?? '', 'keys'), {recursive: true})
      await writeFile(join(args[1] ?? '', 'sources.list'), 'deb somewhere bookworm main\n')
      await writeFile(join(args[1] ?? '', 'apt.conf'), '')
    }
    const running = async () => (await stat(join(own, 'node.pid')).catch(() => undefined)) !== undefined
    if (program === 'start.sh' && !(await running()))
      limits.set(basename(own), {
        cpus: Number(env?.['CAGE_NODE_CPUS']),
        memory: Number(env?.['CAGE_NODE_MEMORY']),
      })
    if (program === 'start.sh' && state.starts) {
      for (const file of ['node.pid', 'way-out.pid']) {
        await writeFile(join(own, file), (await processIdentity(process.pid)) ?? '')
      }
    }
    if (program === 'start.sh' && !state.starts) await writeFile(join(own, 'node.log'), 'mount: no overlay\n')
    if (program === 'stop.sh') {
      for (const file of ['node.pid', 'way-out.pid']) await rm(join(own, file), {force: true})
    }
    return {}
  }
  const clock = {
    now: () => now,
    sleep: (ms: number) => {
      now += ms
      return Promise.resolve()
    },
  }
  const make = (over: Partial<MachineRecord> = {}) =>
    new LocalMachine({
      runner,
      clock,
      record: {...record, ...over},
      directory: join(home, over.id ?? record.id),
      packageRoot: resolve('.'),
      cache: join(home, 'cache'),
    })
  const machine = make()
  const work = {signal: new AbortController().signal, detail: (text: string) => said.push(text)}
  const scripts = () =>
    runner.commands.map(({argv}) => basename(argv[0])).filter((name) => /^(start|stop)\.sh$/.test(name))
  return {runner, machine, make, work, state, scripts, limits}
}

machineContract('local', (): Promise<MachineWorld> => {
  const {state, make, limits} = world()
  const without = (file: string) => rm(join(directory, file), {force: true})
  return Promise.resolve({
    machine: make,
    hurt: {
      powerOff: async () => {
        await without('node.pid')
        await without('way-out.pid')
      },
      loseWayOut: () => without('way-out.pid'),
      failStart: () => {
        state.starts = false
      },
    },
    inForce: (id) => Promise.resolve(limits.get(id)),
    failure: {code: 'MACHINE_NOT_STARTED', message: expect.stringContaining('mount: no overlay')},
    left: async () => (await readdir(home)).filter((name) => name.startsWith('shop-')),
    clean: () => Promise.resolve(),
  })
})

describe('machine `local`', () => {
  it('keeps its disks over a second create', async () => {
    const {machine, work} = world()
    await machine.create(work)
    await writeFile(join(directory, 'volumes.img'), 'work')
    await machine.create(work)
    expect(await readFile(join(directory, 'volumes.img'), 'utf8')).toBe('work')
    expect((await stat(join(directory, 'disk.img'))).mode & 0o777).toBe(0o600)
  })

  it('hands its scripts names, addresses and limits, and nothing of this process’s environment', async () => {
    const {machine, work, runner} = world()
    process.env['CAGE_TEST_SECRET'] = 'secret'
    await machine.create(work)
    await machine.start(work)
    delete process.env['CAGE_TEST_SECRET']
    const {env = {}} = runner.commands.find(({argv}) => argv[0].endsWith('start.sh')) ?? {}
    expect(env).toMatchObject({
      CAGE_NODE_NAME: 'cage-shop-00000001',
      CAGE_NODE_HOST: '10.200.0.1/30',
      CAGE_NODE_ADDRESS: '10.200.0.2/30',
      CAGE_NODE_MEMORY: String(8 * GIB),
      CAGE_NODE_CPUS: '4',
    })
    expect(env['CAGE_NODE_LAYERS']?.split(':')[0]).toBe(join(directory, 'files'))
    expect(Object.keys(env).filter((name) => name !== 'PATH' && !name.startsWith('CAGE_NODE_'))).toEqual([])
  })

  it('lays out scripts and configuration for the node before it starts', async () => {
    const {machine, work} = world()
    await machine.create(work)
    await machine.start(work)
    const file = (path: string) => readFile(join(directory, 'files', path), 'utf8')
    expect(await file('etc/cni/net.d/10-cage.conflist')).toContain('10.200.64.0/18')
    expect(await file('etc/containerd/config.toml')).toContain('cage.local/kubernetes/pause:v1.36.3')
    expect(await file('etc/apt/sources.list')).toBe('deb somewhere bookworm main\n')
    expect((await stat(join(directory, 'files/usr/local/lib/cage/firewall.sh'))).mode & 0o100).toBe(0o100)
  })

  it('does not take another process for its own', async () => {
    const {machine, work} = world()
    await machine.create(work)
    await machine.start(work)
    const identity = await readFile(join(directory, 'node.pid'), 'utf8')
    await writeFile(join(directory, 'node.pid'), identity.replace(/ \d+ /, ' 1 '))
    expect(await machine.state()).toBe('stopped')
    await expect(machine.transport.run({argv: ['true']})).rejects.toMatchObject({
      code: 'MACHINE_NOT_RUNNING',
      hints: ['Run `cage up`.'],
    })
  })

  it('starts over when its last start was cut off', async () => {
    const {machine, work, runner, scripts} = world()
    await machine.create(work)
    await machine.start(work)
    const answer = runner.answer
    let ready = false
    runner.answer = (command) => {
      if (command.argv.some((word) => word.includes('/run/cage/ready')) && !ready) return {code: 1}
      if (command.argv[0].endsWith('start.sh')) ready = true
      return answer(command)
    }
    await machine.start(work)
    expect(scripts()).toEqual(['start.sh', 'stop.sh', 'start.sh'])
  })

  it('refuses a record without a network', () => {
    const without = {...record}
    delete without.network
    const {runner} = world()
    const clock = {now: () => 0, sleep: () => Promise.resolve()}
    const options = {runner, clock, record: without, directory, packageRoot: '.', cache: home}
    expect(() => new LocalMachine(options)).toThrow(expect.objectContaining({code: 'STATE_DAMAGED'}))
  })
})

describe('names and sizes', () => {
  it('of a link fit the kernel with one more character for its other end', () => {
    expect(linkName('a'.repeat(41))).toMatch(/^cage-[0-9a-f]{8}$/)
    expect(linkName('shop-00000001')).not.toBe(linkName('shop-00000002'))
  })

  it('of disks never fall below what a node needs, and only etcd’s space is taken at once', () => {
    expect(disks(60 * GIB).map(({file, size, reserved}) => [file, size / GIB, reserved])).toEqual([
      ['etcd.img', 1, true],
      ['disk.img', 20, false],
      ['volumes.img', 40, false],
    ])
    expect(disks(5 * GIB).map(({size}) => size / GIB)).toEqual([1, 12, 10])
  })
})
