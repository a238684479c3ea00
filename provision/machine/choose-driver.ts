import {CageError, ExitCode} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import {guestHomes} from './guests.js'
import {findTool, oldest, vagrantProvider} from './guest-tools.js'
import {hardwareVirtualization} from './virtualization.js'

/** The computer that a machine is wanted on. */
export interface Computer {
  runner: Runner
  platform: string
  /** as in `process.arch` */
  arch: string
  uid: number
  /** cage's VAGRANT_HOME */
  vagrantHome: string
}

/** This one. */
export function thisComputer({runner, stateHome}: {runner: Runner; stateHome: string}): Computer {
  const {platform, arch} = process
  return {runner, platform, arch, uid: process.getuid?.() ?? -1, vagrantHome: guestHomes(stateHome).vagrant}
}

export interface Choice {
  driver: 'lima' | 'vagrant' | 'local'
  /** why not a stronger one, for the person; empty when it is the strongest */
  why: string
}

/**
 * What `driver: auto` means here: Lima where it works, else Vagrant where it works, else a node on this computer itself.
 * A guest that could only be emulated does not count. Errors: NO_MACHINE (exit 3) where nothing works.
 */
export async function chooseDriver(computer: Computer): Promise<Choice> {
  const {runner, platform, arch, uid} = computer
  const hardware = await hardwareVirtualization(runner, platform, arch)
  const reasons: string[] = []
  if (!hardware) reasons.push('this computer runs no virtual machines with its own processor')
  else if (await limaWorks(runner, uid, reasons)) return {driver: 'lima', why: ''}
  if (hardware && (await vagrantWorks(computer, reasons))) return {driver: 'vagrant', why: ''}
  const why = reasons.join('; ')
  if (platform === 'linux' && uid === 0) return {driver: 'local', why}
  const fix =
    platform === 'darwin' ? 'brew install lima' : 'Install Lima 2: https://lima-vm.io/docs/installation/'
  throw new CageError(`no machine can be made here: ${why}`, {
    code: 'NO_MACHINE',
    exitCode: ExitCode.precondition,
    hints: [
      ...(hardware ? [`${fix}.`] : []),
      ...(platform === 'linux' ? ['Or run cage as root: machine `local` needs no virtual machine.'] : []),
      'Or name a server of yours as `machine.driver: ssh` in your own config.yaml.',
    ],
  })
}

async function limaWorks(runner: Runner, uid: number, reasons: string[]): Promise<boolean> {
  const {version, ok} = await findTool(runner, 'limactl')
  if (version === undefined) reasons.push('Lima is not installed')
  else if (uid === 0) reasons.push('Lima does not run as root')
  else if (!ok) reasons.push(`Lima ${version} is older than ${oldest.limactl}`)
  else return true
  return false
}

async function vagrantWorks({runner, platform, vagrantHome}: Computer, reasons: string[]): Promise<boolean> {
  const {version, ok} = await findTool(runner, 'vagrant')
  if (version === undefined) reasons.push('Vagrant is not installed')
  else if (!ok) reasons.push(`Vagrant ${version} is older than ${oldest.vagrant}`)
  else if ((await vagrantProvider(runner, platform, vagrantHome)) === undefined)
    reasons.push('Vagrant has no provider that works')
  else return true
  return false
}
