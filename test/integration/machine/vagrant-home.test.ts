import {spawnSync} from 'node:child_process'
import {existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {afterAll, beforeAll, beforeEach, describe, expect} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import type {Runner} from '../../../core/runner.js'
import {VagrantMachine} from '../../../provision/machine/vagrant.js'
import {itUnless} from '../../support/when.js'
import {guestDescription} from '../../support/virtual-machine-contract.js'

const missing =
  spawnSync('vagrant', ['--version']).error === undefined ? undefined : 'vagrant is not installed'
let scratch: string
let person: string
/** what the person's own Vagrantfiles leave behind when Vagrant reads them */
const read = (name: string) => existsSync(join(scratch, `read-${name}`))

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'cage-vagrant-home-'))
  person = join(scratch, 'person')
})
afterAll(() => rmSync(scratch, {recursive: true, force: true}))
beforeEach(() => {
  rmSync(scratch, {recursive: true, force: true})
  mkdirSync(join(person, '.vagrant.d'), {recursive: true})
  mkdirSync(join(scratch, 'state'))
  for (const [name, folder] of [
    ['global', join(person, '.vagrant.d')],
    ['other', person],
  ] as const) {
    const mark = `File.write('${join(scratch, `read-${name}`)}', 'x')`
    writeFileSync(
      join(folder, 'Vagrantfile'),
      `${mark}\nVagrant.configure('2') { |c| c.vm.synced_folder '/', '/host' }\n`,
    )
  }
})

/** The person's own environment around every program that cage starts. */
function withEnvironment(env: Record<string, string>): Runner {
  const around = {...process.env, HOME: person, ...env} as Record<string, string>
  return {
    run: (command) => processRunner.run({...command, env: around}),
    start: (command) => processRunner.start({...command, env: around}),
  }
}

/** Vagrant itself, asked for a guest that was never made; whatever it answers it has read its Vagrantfiles by then. */
async function ask(runner: Runner): Promise<void> {
  const machine = new VagrantMachine({
    runner,
    description: guestDescription(),
    directory: join(scratch, 'state'),
    home: join(scratch, 'cage'),
    packageRoot: resolve('.'),
    platform: 'linux',
    hardware: () => Promise.resolve(false),
    base: () => Promise.resolve(undefined),
  })
  mkdirSync(join(scratch, 'cage/cage/cage-shop-0a1b2c3d'), {recursive: true})
  await machine.state().catch(() => undefined)
}

describe('the person’s own Vagrantfiles', () => {
  itUnless(
    missing,
    'are read by Vagrant as the person runs it',
    () => {
      const env = {...process.env, HOME: person, VAGRANT_HOME: join(person, '.vagrant.d')}
      spawnSync('vagrant', ['status'], {cwd: person, env})
      expect([read('global'), read('other')]).toEqual([true, true])
    },
    120_000,
  )

  itUnless(
    missing,
    'are not read by the Vagrant of cage, also where the environment names them',
    async () => {
      await ask(withEnvironment({}))
      expect(existsSync(join(scratch, 'cage/setup_version'))).toBe(true)
      expect([read('global'), read('other')]).toEqual([false, false])
      const own = {
        VAGRANT_HOME: join(person, '.vagrant.d'),
        VAGRANT_CWD: person,
        VAGRANT_VAGRANTFILE: 'Vagrantfile',
      }
      await ask(withEnvironment(own))
      expect([read('global'), read('other')]).toEqual([false, false])
    },
    120_000,
  )
})
