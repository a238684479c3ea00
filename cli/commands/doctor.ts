import {release} from 'node:os'
import {join} from 'node:path'
import {Flags} from '@oclif/core'
import {ExitCode} from '../../core/errors.js'
import {processRunner} from '../../core/process.js'
import type {Check} from '../../provision/doctor.js'
import {chooseDriver, thisComputer, type Computer} from '../../provision/machine/choose-driver.js'
import {BaseCommand} from '../base-command.js'
import {homes} from '../environment.js'
import {packageRoot} from '../../core/package-root.js'
import {table} from '../ui/table.js'

export default class Doctor extends BaseCommand<typeof Doctor> {
  static override summary = 'Show what cage needs on this computer and the command that fixes what is missing'
  static override flags = {
    driver: Flags.option({
      description: 'what this driver needs; default: the one that `machine.driver: auto` takes here',
      options: ['lima', 'vagrant', 'ssh', 'local'] as const,
    })(),
  }

  public async run(): Promise<{checks: Check[]}> {
    const [{doctorChecks}, {kubernetesIsBuilt}] = await Promise.all([
      import('../../provision/doctor.js'),
      import('../../provision/machine/local-build.js'),
    ])
    const {state, cache} = homes()
    const computer = thisComputer({runner: processRunner, stateHome: state})
    const checks = await doctorChecks({
      ...computer,
      driver: this.flags.driver ?? (await usual(computer)),
      nodeVersion: process.version,
      stateHome: state,
      cacheHome: cache,
      compiled: await kubernetesIsBuilt(packageRoot(), join(cache, 'cage')),
    })
    const mark = ({ok, required}: Check) => (ok ? 'ok' : required ? 'missing' : 'advised')
    this.log(
      table(
        ['check', 'result', 'found', 'fix'],
        checks.map((check) => [check.name, mark(check), check.found, check.fix ?? '']),
      ),
    )
    this.log(`\ncage ${this.config.version}, Linux ${release()}`.replace('Linux', process.platform))
    if (checks.some(({ok, required}) => required && !ok)) process.exitCode = ExitCode.precondition
    return {checks}
  }
}

/** Where nothing works, what is nearest: root on Linux, Lima elsewhere. */
async function usual(computer: Computer): Promise<'lima' | 'vagrant' | 'local'> {
  return chooseDriver(computer).then(
    ({driver}) => driver,
    () => (computer.platform === 'linux' ? 'local' : 'lima'),
  )
}
