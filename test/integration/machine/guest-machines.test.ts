import {readFile, rm, writeFile} from 'node:fs/promises'
import {delimiter, join, resolve} from 'node:path'
import {expect} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import type {Runner} from '../../../core/runner.js'
import {GuestMachine} from '../../../provision/machine/guest-machine.js'
import {LimaMachine} from '../../../provision/machine/lima.js'
import type {GuestUpkeep} from '../../../provision/machine/upkeep.js'
import {VagrantMachine} from '../../../provision/machine/vagrant.js'
import {guestName, type VirtualMachine} from '../../../provision/machine/virtual-machine.js'
import {record, remoteWorld} from '../../support/fake-server.js'
import {machineContract, type MachineSettings, type MachineWorld} from '../../support/machine-contract.js'
import {guestDescription, type InForce} from '../../support/virtual-machine-contract.js'

const env = {
  ...process.env,
  PATH: `${resolve('test/support/machine-programs')}${delimiter}${process.env['PATH'] ?? ''}`,
} as Record<string, string>
const runner: Runner = {
  run: (command) => processRunner.run({env, ...command}),
  start: (command) => processRunner.start({env, ...command}),
}
const packageRoot = resolve('.')
const hardware = () => Promise.resolve(true)
const base = () => Promise.resolve(undefined)

/** What keeps the guest's own system in order is tried with that system. */
const upkeep = {apply: () => Promise.resolve()} as unknown as GuestUpkeep

const drivers = {
  lima: {
    make: (home: string, directory: string, {id, cpus, memory}: MachineSettings): VirtualMachine =>
      new LimaMachine({
        ...{runner, directory, home, packageRoot, hardware, base},
        description: guestDescription({id, cpus, memory, sshPort: 50_000 + Number(id.slice(-1))}),
      }),
    booted: (home: string, id: string) => join(home, guestName(id), 'booted'),
    start: 'start',
  },
  vagrant: {
    make: (home: string, directory: string, {id, cpus, memory}: MachineSettings): VirtualMachine =>
      new VagrantMachine({
        ...{runner, directory, home, packageRoot, hardware, base, platform: 'linux'},
        description: guestDescription({id, cpus, memory, sshPort: 50_000 + Number(id.slice(-1))}),
      }),
    booted: (home: string, id: string) => join(home, 'guests', `cage-${id}`),
    start: 'up',
  },
}

for (const driver of ['lima', 'vagrant'] as const) {
  machineContract(driver, async (): Promise<MachineWorld> => {
    const {home: scratch, server, make, clean} = await remoteWorld()
    const home = join(scratch, 'hypervisor')
    const {booted, start, make: guest} = drivers[driver]
    const state = (id: string) => join(scratch, 'state', id, 'machine')
    const there = async (id: string): Promise<InForce | undefined> => {
      const text = await readFile(booted(home, id), 'utf8').catch(() => undefined)
      return text === undefined ? undefined : (JSON.parse(text) as InForce)
    }
    const machine = (settings: MachineSettings) => {
      const node = make({...settings, driver})
      return new GuestMachine(guest(home, state(settings.id), settings), node, upkeep, node.transport)
    }
    return {
      machine,
      hurt: {
        powerOff: async () => {
          const off = guest(home, state(record.id), record)
          await off.stop({signal: new AbortController().signal, detail: () => undefined})
          server.place(record.id).node = server.place(record.id).wayOut = false
        },
        loseWayOut: () => {
          server.place(record.id).wayOut = false
          return Promise.resolve()
        },
        failStart: () => writeFile(join(home, '.fail'), start),
        loseState: () => rm(join(scratch, 'state', record.id), {recursive: true}),
      },
      inForce: async (id) => {
        const found = await there(id)
        return found && {cpus: found.cpus, memory: found.memory}
      },
      failure: {code: 'MACHINE_DRIVER_FAILED', message: expect.any(String)},
      left: async () => {
        const ids = ['shop-00000001', 'shop-00000002']
        const found = await Promise.all(ids.map(there))
        return ids.filter((_, i) => found[i] !== undefined)
      },
      clean,
    }
  })
}
