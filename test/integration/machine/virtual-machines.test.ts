import {readFile} from 'node:fs/promises'
import {join, resolve} from 'node:path'
import {LimaBases, VagrantBases} from '../../../provision/machine/guest-bases.js'
import {LimaMachine} from '../../../provision/machine/lima.js'
import {VagrantMachine} from '../../../provision/machine/vagrant.js'
import {VagrantTool} from '../../../provision/machine/vagrant-tool.js'
import {guestName} from '../../../provision/machine/virtual-machine.js'
import {virtualMachineContract, type InForce} from '../../support/virtual-machine-contract.js'

const packageRoot = resolve('.')
const platform = 'linux'
const hardware = () => Promise.resolve(true)
const named = (base: string | undefined) => () => Promise.resolve(base)
const parsed = async (path: string): Promise<InForce | undefined> => {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as InForce)
}

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
