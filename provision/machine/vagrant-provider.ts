import {CageError, ExitCode} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'

/** A Vagrant provider and what tells that it is installed; best first. */
const providers: readonly {
  name: string
  platforms: readonly string[]
  /** Vagrant's plugin; absent = part of Vagrant */
  plugin?: string
  /** answers with exit code 0 where it works */
  probe?: readonly [string, ...string[]]
}[] = [
  {
    name: 'libvirt',
    platforms: ['linux'],
    plugin: 'vagrant-libvirt',
    probe: ['virsh', '--connect', 'qemu:///system', 'version'],
  },
  {
    name: 'parallels',
    platforms: ['darwin'],
    plugin: 'vagrant-parallels',
    probe: ['prlctl', '--version'],
  },
  {name: 'vmware_desktop', platforms: ['darwin', 'linux'], plugin: 'vagrant-vmware-desktop'},
  {name: 'virtualbox', platforms: ['darwin', 'linux'], probe: ['VBoxManage', '--version']},
  {name: 'qemu', platforms: ['darwin', 'linux'], plugin: 'vagrant-qemu'},
]

/** The first provider that answers. `plugins` is what `vagrant plugin list` printed; undefined when there is none. */
export async function findProvider(
  runner: Runner,
  platform: string,
  plugins: string,
): Promise<string | undefined> {
  for (const {name, platforms, plugin, probe} of providers) {
    if (!platforms.includes(platform)) continue
    if (plugin !== undefined && !new RegExp(`^${plugin} \\(`, 'm').test(plugins)) continue
    if (probe === undefined || (await answers(runner, probe))) return name
  }
  return undefined
}

/** The command that brings a provider. `home` is cage's VAGRANT_HOME: plugins of the person's own are not seen there. */
export function providerFix(platform: string, home: string): string {
  const plugin = platform === 'darwin' ? 'vagrant-qemu' : 'vagrant-libvirt'
  const start = platform === 'darwin' ? '' : ', and start libvirtd'
  return `VAGRANT_HOME=${home} vagrant plugin install ${plugin}${start}; or install VirtualBox`
}

/** Errors: VAGRANT_PROVIDER, exit 3. */
export async function chooseProvider(
  runner: Runner,
  platform: string,
  plugins: string,
  home: string,
): Promise<string> {
  const found = await findProvider(runner, platform, plugins)
  if (found !== undefined) return found
  throw new CageError('Vagrant has no provider here that works', {
    code: 'VAGRANT_PROVIDER',
    exitCode: ExitCode.precondition,
    hints: [`${providerFix(platform, home)}.`],
  })
}

async function answers(runner: Runner, argv: readonly [string, ...string[]]): Promise<boolean> {
  const attempt = await runner.run({argv, timeoutMs: 20_000}).catch(() => undefined)
  return attempt?.code === 0
}
