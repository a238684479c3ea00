import {spawnSync} from 'node:child_process'
import {existsSync, readdirSync, rmSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {itUnless} from '../support/when.js'
import {box, installed, obstacleOf, World} from './world.js'

const virsh = (...args: string[]) =>
  spawnSync('virsh', ['--connect', 'qemu:///system', ...args], {encoding: 'utf8'})
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
interface Status {
  machine: {driver: string; state: string; sharesKernel: boolean}
  openings: {address: string; why: string}[]
}

describe('vagrant: a project in a virtual machine of libvirt', () => {
  const test = (name: string, body: () => Promise<void>) => itUnless(obstacle, `vagrant: ${name}`, body)
  let world: World
  let daemons: number[] = []
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
    await world.cage('destroy', '--confirm', 'shop')
    world.remove()
    const volumes = virsh('vol-list', 'default').stdout.match(/cage-VAGRANTSLASH-own-\S+\.img/g) ?? []
    for (const volume of new Set(volumes)) virsh('vol-delete', '--pool', 'default', volume)
    if (daemons.length === 0) return
    virsh('net-destroy', 'vagrant-libvirt')
    virsh('net-undefine', 'vagrant-libvirt')
    for (const pid of daemons) process.kill(pid)
  })

  test('up makes the guest, the node in it and the cluster', async () => {
    const up = await world.json<Up>('up')
    expect(up.machine).toMatchObject({driver: 'vagrant', state: 'running'})
    expect(up.cluster.ready).toBe(true)
  })

  test('up again changes nothing', async () => {
    const {steps} = await world.json<Up>('up')
    expect(steps.filter(({changed}) => changed)).toEqual([])
  })

  test('the guest has a kernel of its own, and nothing of this computer is mounted in it', async () => {
    const {stdout} = await world.cage('machine', 'ssh', '--', 'cat', '/proc/version', '/proc/self/mountinfo')
    expect(stdout).toContain('Linux version')
    expect(stdout).not.toContain(spawnSync('uname', ['-r'], {encoding: 'utf8'}).stdout.trim())
    expect(stdout).not.toMatch(/ (9p|virtiofs|nfs4?|vboxsf|fuse\.sshfs) /)
    const {machine, openings} = await world.json<Status>('status')
    expect(machine.sharesKernel).toBe(false)
    expect(openings.map(({address}) => address)).toContain('192.168.121.1')
  })

  test('a task works behind its fence and pushes, and nothing of it reaches this computer', async () => {
    await world.ok('task', 'new', 'fix/in-a-guest', '--agent', 'shell')
    const script = `echo done >done && git add done && git commit -qm done && git push -q && echo pushed
      for address in 192.168.121.1 10.200.0.2; do timeout 5 bash -c "echo >/dev/tcp/$address/22" 2>/dev/null && echo open $address; done; true`
    expect(await world.ok('task', 'exec', 'fix/in-a-guest', '--', 'bash', '-c', script)).toBe('pushed\n')
    const {stdout} = await world.run('git', ['ls-remote', 'cage', 'refs/heads/fix/in-a-guest'])
    expect(stdout).toMatch(/^[0-9a-f]{40}\trefs\/heads\/fix\/in-a-guest$/m)
  })

  test('down stops the guest, and up brings the task back with its files', async () => {
    await world.ok('down')
    expect(virsh('list', '--name').stdout).not.toContain('cage-shop-')
    await world.ok('up')
    const wait = 'for _ in $(seq 60); do [ -e done ] && break; sleep 2; done; cat done'
    expect(await world.ok('task', 'exec', 'fix/in-a-guest', '--', 'bash', '-c', wait)).toBe('done\n')
  })

  test('the guest is found again when the project’s state was lost', async () => {
    const id = readdirSync(world.state()).find((name) => /^shop-[0-9a-f]{8}$/.test(name)) ?? ''
    rmSync(world.state(id), {recursive: true})
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
