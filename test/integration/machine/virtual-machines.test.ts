import {mkdir, mkdtemp, readFile, readdir, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {describe, expect, it} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import type {Runner} from '../../../core/runner.js'
import {LimaBases, VagrantBases} from '../../../provision/machine/guest-bases.js'
import {LimaMachine} from '../../../provision/machine/lima.js'
import {VagrantMachine} from '../../../provision/machine/vagrant.js'
import {VagrantTool} from '../../../provision/machine/vagrant-tool.js'
import {guestName} from '../../../provision/machine/virtual-machine.js'
import {
  guestDescription,
  virtualMachineContract,
  type InForce,
} from '../../support/virtual-machine-contract.js'

const packageRoot = resolve('.')
const platform = 'linux'
const hardware = () => Promise.resolve(true)
const named = (base: string | undefined) => () => Promise.resolve(base)
const parsed = async (path: string): Promise<InForce | undefined> => {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as InForce)
}

describe('a guest of libvirt whose making was cut off', () => {
  it('leaves no disk that is in the way of the next try, or after it is removed', async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'cage-cut-off-'))
    const home = join(scratch, 'home')
    const disk = join(home, 'pool', 'cage-shop-0a1b2c3d.img')
    const env = {
      ...process.env,
      PATH: `${resolve('test/support/machine-programs')}:${process.env['PATH'] ?? ''}`,
      CAGE_TEST_POOL: join(home, 'pool'),
    } as Record<string, string>
    const runner: Runner = {
      run: (command) => processRunner.run({env, ...command}),
      start: (command) => processRunner.start({env, ...command}),
    }
    const directory = join(scratch, 'machine')
    const description = guestDescription()
    const base = named(undefined)
    const one = new VagrantMachine({
      runner,
      description,
      directory,
      home,
      packageRoot,
      platform,
      hardware,
      base,
    })
    const work = {signal: new AbortController().signal, detail: () => undefined}
    const cutOff = async () => {
      await one.create(work)
      await mkdir(join(home, 'pool'), {recursive: true})
      await writeFile(disk, 'half a disk')
    }
    await cutOff()
    await one.start(work)
    expect(await one.state()).toBe('running')
    await one.destroy(work)
    await cutOff()
    await one.destroy(work)
    expect(await readdir(join(home, 'pool'))).toEqual([])
    const stray = join(home, 'guests', 'cage-shop-0a1b2c3d')
    await one.create(work)
    await writeFile(stray, '{}')
    await expect(one.start(work)).rejects.toMatchObject({message: expect.stringContaining('already taken')})
    await one.destroy(work)
    expect(await readdir(join(home, 'guests'))).toEqual(['cage-shop-0a1b2c3d'])
    await rm(stray)
    await one.create(work)
    await writeFile(join(home, '.fail'), 'up')
    await one.start(work).catch(() => undefined)
    await rm(join(home, '.fail'))
    await rm(join(home, 'cage/cage-shop-0a1b2c3d/machines'), {recursive: true})
    await one.destroy(work)
    expect(await readdir(join(home, 'guests'))).toEqual([])
    await rm(scratch, {recursive: true})
  })
})

virtualMachineContract({
  name: 'lima',
  make: ({home, runner}, directory, description, base) =>
    new LimaMachine({runner, description, directory, home, packageRoot, hardware, base: named(base)}),
  bases: ({home, runner}, directory) => new LimaBases({runner, home, directory, platform}),
  inForce: (home, id) => parsed(join(home, guestName(id), 'booted')),
  commands: {start: 'start', stop: 'stop', destroy: 'delete', state: 'list'},
})

virtualMachineContract({
  name: 'vagrant',
  make: ({home, runner}, directory, description, base) =>
    new VagrantMachine({
      runner,
      description,
      directory,
      home,
      packageRoot,
      platform,
      hardware,
      base: named(base),
    }),
  bases: ({home, runner}, directory) =>
    new VagrantBases({runner, tool: new VagrantTool({runner, home, platform}), directory}),
  inForce: (home, id) => parsed(join(home, 'guests', `cage-${id}`)),
  commands: {start: 'up', stop: 'halt', destroy: 'destroy', state: 'status'},
})
