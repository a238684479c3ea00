import {describe, expect, it} from '@jest/globals'
import {chooseProvider} from '../../../provision/machine/vagrant-provider.js'
import {guestChecks} from '../../../provision/machine/guest-checks.js'
import {FakeRunner} from '../../support/fake-runner.js'

/** A computer where these programs answer. */
function having(...programs: string[]): FakeRunner {
  const runner = new FakeRunner()
  runner.answer = ({argv}) =>
    programs.includes(argv[0]) ? {stdout: '1.0\n'} : Promise.reject(new Error('not installed'))
  return runner
}
const plugin = (...names: string[]) => names.map((name) => `${name} (1.2.3, global)\n`).join('')
const choose = (platform: string, plugins: string, ...programs: string[]) =>
  chooseProvider(having(...programs), platform, plugins, '/state/.vagrant')

describe('the provider of Vagrant', () => {
  it.each<[string, string, string, string[], string]>([
    [
      'libvirt before all others',
      'linux',
      plugin('vagrant-qemu', 'vagrant-libvirt'),
      ['virsh', 'VBoxManage'],
      'libvirt',
    ],
    ['VMware with its plugin', 'linux', plugin('vagrant-vmware-desktop'), ['VBoxManage'], 'vmware_desktop'],
    ['VirtualBox, which is part of Vagrant', 'linux', '', ['VBoxManage'], 'virtualbox'],
    ['QEMU when nothing else is there', 'linux', plugin('vagrant-qemu'), [], 'qemu'],
    [
      'VirtualBox where libvirt does not answer',
      'linux',
      plugin('vagrant-libvirt'),
      ['VBoxManage'],
      'virtualbox',
    ],
    [
      'Parallels on macOS',
      'darwin',
      plugin('vagrant-parallels', 'vagrant-qemu'),
      ['prlctl', 'VBoxManage'],
      'parallels',
    ],
    [
      'VMware on macOS where Parallels is not installed',
      'darwin',
      plugin('vagrant-parallels', 'vagrant-vmware-desktop'),
      [],
      'vmware_desktop',
    ],
    ['QEMU on macOS', 'darwin', plugin('vagrant-qemu'), [], 'qemu'],
  ])('is %s', async (_, platform, plugins, programs, provider) => {
    expect(await choose(platform, plugins, ...programs)).toBe(provider)
  })

  it.each<[string, string, string, string[]]>([
    [
      'a plugin with a name that only begins alike',
      'linux',
      plugin('vagrant-libvirt-extras', 'vagrant-qemu-old'),
      ['virsh'],
    ],
    ['libvirt without its plugin', 'linux', '', ['virsh']],
    ['a provider of another system', 'linux', plugin('vagrant-parallels'), ['prlctl']],
  ])('is never %s', async (_, platform, plugins, programs) => {
    await expect(choose(platform, plugins, ...programs)).rejects.toMatchObject({
      code: 'VAGRANT_PROVIDER',
      exitCode: 3,
      hints: [expect.stringContaining('VAGRANT_HOME=/state/.vagrant vagrant plugin install vagrant-libvirt')],
    })
  })

  it.each<[string, string, RegExp]>([
    ['linux', '2.2.19', /^Install Vagrant 2\.3\.4 or newer: https:/],
    ['darwin', '2.2.19', /^brew install --cask .*2\.3\.4 or newer/],
  ])('needs a Vagrant that is new enough; the fix on %s', async (platform, version, fix) => {
    const runner = having()
    runner.answer = ({argv}) =>
      argv[0] === 'vagrant' ? {stdout: `Vagrant ${version}\n`} : Promise.reject(new Error('not installed'))
    const checks = await guestChecks('vagrant', {runner, platform, arch: 'x64', uid: 1000, vagrantHome: '/v'})
    expect(checks.find(({name}) => name === 'vagrant')).toMatchObject({
      ok: false,
      found: version,
      required: true,
      fix: expect.stringMatching(fix),
    })
  })
})
