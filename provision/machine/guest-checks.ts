import type {Check} from '../doctor.js'
import type {Computer} from './choose-driver.js'
import {findTool, oldest, vagrantProvider} from './guest-tools.js'
import {providerFix} from './vagrant-provider.js'
import {hardwareVirtualization, qemuProgram} from './virtualization.js'

/** What a virtual machine needs on this computer, found by trying. */
export async function guestChecks(driver: 'lima' | 'vagrant', computer: Computer): Promise<Check[]> {
  const checks = driver === 'lima' ? await limaChecks(computer) : await vagrantChecks(computer)
  return [...checks, await hardwareCheck(computer)]
}

async function limaChecks({runner, platform, arch, uid}: Computer): Promise<Check[]> {
  const fix =
    platform === 'darwin' ? 'brew install lima' : 'Install Lima 2: https://lima-vm.io/docs/installation/'
  const {version, ok} = await findTool(runner, 'limactl')
  const checks = [
    check('an ordinary user', uid !== 0, `uid ${uid}`, 'Run cage as yourself: Lima does not run as root.'),
    check('limactl', ok || (uid === 0 && version !== undefined), version ?? 'not found', older(fix, version)),
  ]
  if (platform === 'darwin') return checks
  const qemu = qemuProgram(arch)
  const packages =
    arch === 'arm64' ? 'qemu-system-arm qemu-efi-aarch64 qemu-utils' : 'qemu-system-x86 qemu-utils'
  for (const program of [qemu, 'qemu-img']) {
    const found = await runner.run({argv: [program, '--version'], timeoutMs: 20_000}).catch(() => undefined)
    const said = found?.stdout.toString().split('\n')[0] ?? 'not found'
    checks.push(check(program, found?.code === 0, said, `apt-get install -y ${packages}`))
  }
  return checks

  function older(text: string, have: string | undefined): string {
    return have === undefined ? text : `${text} (${oldest.limactl} or newer is needed)`
  }
}

async function vagrantChecks({runner, platform, vagrantHome}: Computer): Promise<Check[]> {
  const {version, ok} = await findTool(runner, 'vagrant')
  const fix =
    platform === 'darwin'
      ? `brew install --cask hashicorp/tap/hashicorp-vagrant (${oldest.vagrant} or newer is needed)`
      : `Install Vagrant ${oldest.vagrant} or newer: https://developer.hashicorp.com/vagrant/install`
  const checks = [check('vagrant', ok, version ?? 'not found', fix)]
  if (!ok) return checks
  const provider = await vagrantProvider(runner, platform, vagrantHome)
  const missing = providerFix(platform, vagrantHome)
  return [
    ...checks,
    check('a Vagrant provider', provider !== undefined, provider ?? 'none that works', missing),
  ]
}

async function hardwareCheck({runner, platform, arch}: Computer): Promise<Check> {
  const works = await hardwareVirtualization(runner, platform, arch)
  const fix =
    'Switch on virtualization in the firmware and become a member of the group `kvm`: without it a machine is emulated, ten times slower.'
  return check('virtual machines by the processor', works, works ? 'work' : 'do not work', fix, false)
}

function check(name: string, ok: boolean, found: string, fix: string, required = true): Check {
  return {name, ok, found, ...(ok ? {} : {fix}), required}
}
