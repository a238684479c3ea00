import {spawnSync} from 'node:child_process'
import {createServer, type AddressInfo} from 'node:net'
import {existsSync, readdirSync, readFileSync, rmSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {itUnless} from '../support/when.js'
import {box, installed, obstacleOf, World} from './world.js'

/** This computer on vagrant-libvirt's network. */
const bridge = '192.168.121.1'
const virsh = (...args: string[]) =>
  spawnSync('virsh', ['--connect', 'qemu:///system', ...args], {encoding: 'utf8'})
const projectIn = (world: World) =>
  readdirSync(world.state()).find((name) => /^shop-[0-9a-f]{8}$/.test(name)) ?? ''
const obstacle = obstacleOf([
  [process.getuid?.() === 0, 'libvirt and the box need root here'],
  [installed('vagrant'), 'vagrant is not installed'],
  [
    spawnSync('vagrant', ['plugin', 'list'], {encoding: 'utf8'}).stdout.includes('vagrant-libvirt'),
    'vagrant-libvirt is not installed',
  ],
  [installed('libvirtd'), 'libvirtd is not installed'],
  [installed('qemu-img'), 'qemu is not installed'],
])

interface Up {
  machine: {driver: string; state: string}
  cluster: {ready: boolean}
  steps: {name: string; seconds: number; changed: boolean}[]
}
interface Base {
  name: string
  made: boolean
}
interface Status {
  machine: {driver: string; state: string; sharesKernel: boolean}
  openings: {address: string; why: string}[]
}

describe('vagrant: a project in a virtual machine of libvirt', () => {
  const test = (name: string, body: () => Promise<void>) => itUnless(obstacle, `vagrant: ${name}`, body)
  let world: World
  let daemons: number[] = []
  const times: string[] = []
  async function timed<T>(what: string, body: () => Promise<T>): Promise<T> {
    const began = Date.now()
    const result = await body()
    times.push(`${what} ${Math.round((Date.now() - began) / 1000)} s`)
    return result
  }
  const daemonsNow = () =>
    ['libvirtd', 'virtlogd'].flatMap((name) =>
      spawnSync('pgrep', ['-x', name], {encoding: 'utf8'}).stdout.split('\n').filter(Boolean).map(Number),
    )

  beforeAll(() => {
    if (obstacle !== undefined) return
    if (virsh('version').status !== 0) {
      const before = daemonsNow()
      for (const daemon of ['virtlogd', 'libvirtd']) spawnSync(daemon, ['--daemon'])
      daemons = daemonsNow().filter((pid) => !before.includes(pid))
    }
    world = new World(`{ driver: vagrant, image: ${box()}, cpus: 2, memory: 4GiB, disk: 24GiB }`)
  })
  afterAll(async () => {
    if (obstacle !== undefined) return
    process.stdout.write(`vagrant: ${times.join(', ')}\n`)
    await world.cage('destroy', '--confirm', 'shop')
    await world.cage('image', 'prune', '--all')
    world.remove()
    const volumes = virsh('vol-list', 'default').stdout.match(/cage-VAGRANTSLASH-own-\S+\.img/g) ?? []
    for (const volume of new Set(volumes)) virsh('vol-delete', '--pool', 'default', volume)
    if (daemons.length === 0) return
    virsh('net-destroy', 'vagrant-libvirt')
    virsh('net-undefine', 'vagrant-libvirt')
    for (const pid of daemons) process.kill(pid)
  })

  test('a base image is made once', async () => {
    expect(await timed('image make', () => world.json<Base>('image', 'make'))).toMatchObject({made: true})
    expect(await world.json<Base>('image', 'make')).toMatchObject({made: false})
    expect(virsh('list', '--all', '--name').stdout).not.toContain('cage-')
  })

  test('up makes the guest from it, the node in it and the cluster', async () => {
    const up = await timed('up from the base', () => world.json<Up>('up'))
    expect(up.machine).toMatchObject({driver: 'vagrant', state: 'running'})
    expect(up.cluster.ready).toBe(true)
    const machine = readFileSync(world.state(projectIn(world), 'machine', 'machine.json'), 'utf8')
    expect(machine).toContain('cage/base-')
  })

  test('up again changes nothing', async () => {
    const {steps} = await timed('up again', () => world.json<Up>('up'))
    expect(steps.filter(({changed}) => changed)).toEqual([])
    const free = await world.cage('machine', 'ssh', '--', 'free', '--mebi')
    times.push(`used in the guest ${/^Mem: +\d+ +(\d+)/m.exec(free.stdout)?.[1] ?? '?'} MiB`)
  })

  test('the guest has a kernel of its own, and nothing of this computer is mounted in it', async () => {
    const {stdout} = await world.cage('machine', 'ssh', '--', 'cat', '/proc/version', '/proc/self/mountinfo')
    expect(stdout).toContain('Linux version')
    expect(stdout).not.toContain(spawnSync('uname', ['-r'], {encoding: 'utf8'}).stdout.trim())
    expect(stdout).not.toMatch(/ (9p|virtiofs|nfs4?|vboxsf|fuse\.sshfs) /)
    const {machine, openings} = await world.json<Status>('status')
    expect(machine.sharesKernel).toBe(false)
    expect(openings.map(({address}) => address)).toContain(bridge)
  })

  test('a task works behind its fence and pushes, and nothing of it reaches this computer', async () => {
    await world.ok('task', 'new', 'fix/in-a-guest', '--agent', 'shell')
    const push = 'echo done >done && git add done && git commit -qm done && git push -q && echo pushed'
    expect(await world.ok('task', 'exec', 'fix/in-a-guest', '--', 'bash', '-c', push)).toBe('pushed\n')
    const {stdout} = await world.run('git', ['ls-remote', 'cage', 'refs/heads/fix/in-a-guest'])
    expect(stdout).toMatch(/^[0-9a-f]{40}\trefs\/heads\/fix\/in-a-guest$/m)

    const arrived: string[] = []
    const canary = createServer((socket) => {
      socket.on('error', () => undefined).on('data', (text) => arrived.push(text.toString().trim()))
    })
    await new Promise<void>((listening) => canary.listen(0, bridge, listening))
    const {port} = canary.address() as AddressInfo
    const call = (who: string) => ['bash', '-c', `echo ${who} >/dev/tcp/${bridge}/${port}; true`]
    await world.ok('task', 'exec', 'fix/in-a-guest', '--', ...call('task'))
    await world.cage('machine', 'ssh', '--', ...call('machine'))
    canary.close()
    expect(arrived).toEqual(['machine'])
  })

  test('down stops the guest, and up brings the task back with its files', async () => {
    await timed('down', () => world.ok('down'))
    expect(virsh('list', '--name').stdout).not.toContain('cage-shop-')
    await timed('up after down', () => world.ok('up'))
    const phase = async () => (await world.json<{phase: string}>('task', 'show', 'fix/in-a-guest')).phase
    for (let look = 0; look < 60 && (await phase()) !== 'Running'; look++)
      await new Promise((next) => setTimeout(next, 5000))
    expect(await world.ok('task', 'exec', 'fix/in-a-guest', '--', 'cat', 'done')).toBe('done\n')
  })

  test('the guest is found again when the project’s state was lost', async () => {
    rmSync(world.state(projectIn(world)), {recursive: true})
    const up = await world.json<Up>('up')
    expect(up.cluster.ready).toBe(true)
    expect(up.steps.find(({name}) => name === 'cluster')?.changed).toBe(true)
    const {stdout} = await world.cage('machine', 'ssh', '--', 'kubectl', 'get', 'pods', '-A')
    expect(stdout).toContain('in-a-guest')
  })

  test('destroy leaves neither guest nor disk nor state', async () => {
    await world.ok('destroy', '--confirm', 'shop')
    expect(virsh('list', '--all', '--name').stdout).not.toContain('cage-shop-')
    expect(virsh('vol-list', 'default').stdout).not.toContain('cage-shop-')
    expect(readdirSync(world.state()).filter((name) => name.startsWith('shop-'))).toEqual([])
    expect(
      existsSync(world.state('.vagrant', 'cage')) ? readdirSync(world.state('.vagrant', 'cage')) : [],
    ).toEqual([])
  })
})
