import {describe, expect, it} from '@jest/globals'
import {chooseDriver, type Computer} from '../../../provision/machine/choose-driver.js'
import {guestChecks} from '../../../provision/machine/guest-checks.js'
import {FakeRunner} from '../../support/fake-runner.js'

interface Present {
  kvm?: boolean
  lima?: string
  vagrant?: string
  plugins?: string
  libvirt?: boolean
  virtualbox?: boolean
}

/** A computer on which exactly these programs are installed. */
function computer(present: Present, over: Partial<Computer> = {}): Computer {
  const runner = new FakeRunner()
  const missing = () => Promise.reject(new Error('not installed'))
  const version = (name: string, found: string | undefined) =>
    found === undefined ? missing() : {stdout: `${name} ${found}\n`}
  runner.answer = ({argv, input}) => {
    const words = argv.join(' ')
    if (words.startsWith('qemu-system') && input !== undefined)
      return present.kvm === true ? {stdout: '(qemu) info status\r\nVM status: running\r\n'} : {code: 134}
    if (words.startsWith('qemu-')) return {stdout: 'QEMU emulator version 7.2\n'}
    if (words === 'limactl --version') return version('limactl version', present.lima)
    if (words === 'vagrant --version') return version('Vagrant', present.vagrant)
    if (words.endsWith('plugin list')) return {stdout: present.plugins ?? 'No plugins installed.\n'}
    if (argv[0] === 'virsh') return present.libvirt === true ? {} : {code: 1}
    if (argv[0] === 'VBoxManage') return present.virtualbox === true ? {} : missing()
    return missing()
  }
  return {runner, platform: 'linux', arch: 'x64', uid: 1000, vagrantHome: '/state/cage/.vagrant', ...over}
}
const libvirt = {vagrant: '2.4.1', plugins: 'vagrant-libvirt (0.12.2, global)\n', libvirt: true}

describe('driver `auto`', () => {
  it.each<[string, Present, Partial<Computer>, string]>([
    ['Lima with KVM', {kvm: true, lima: '2.0.3'}, {}, 'lima'],
    ['Lima before Vagrant', {kvm: true, lima: '2.2.0', ...libvirt}, {}, 'lima'],
    ['Lima on macOS', {lima: '2.0.0'}, {platform: 'darwin', arch: 'arm64'}, 'lima'],
    ['Vagrant where Lima is too old', {kvm: true, lima: '1.2.1', ...libvirt}, {}, 'vagrant'],
    [
      'Vagrant for root, where Lima does not run',
      {kvm: true, lima: '2.0.3', ...libvirt},
      {uid: 0},
      'vagrant',
    ],
    ['VirtualBox', {kvm: true, vagrant: '2.3.4', virtualbox: true}, {}, 'vagrant'],
    ['this computer for root without KVM', {lima: '2.0.3', ...libvirt}, {uid: 0}, 'local'],
    [
      'this computer for root when libvirt is dead',
      {kvm: true, ...libvirt, libvirt: false},
      {uid: 0},
      'local',
    ],
    ['this computer for root with nothing installed', {kvm: true}, {uid: 0}, 'local'],
  ])('takes %s', async (_, present, over, driver) => {
    expect((await chooseDriver(computer(present, over))).driver).toBe(driver)
  })

  it('says why it takes this computer itself', async () => {
    const {why} = await chooseDriver(computer({lima: '2.0.3'}, {uid: 0}))
    expect(why).toBe('this computer runs no virtual machines with its own processor')
    const other = await chooseDriver(computer({kvm: true, vagrant: '2.2.0'}, {uid: 0}))
    expect(other.why).toBe('Lima is not installed; Vagrant 2.2.0 is older than 2.3.4')
  })

  it.each<[string, Present, Partial<Computer>, RegExp]>([
    ['an ordinary user without KVM', {lima: '2.0.3'}, {}, /Or run cage as root/],
    ['an ordinary user with nothing installed', {kvm: true}, {}, /Install Lima 2/],
    ['macOS with nothing installed', {}, {platform: 'darwin', uid: 501}, /^brew install lima/],
  ])('never takes it for %s', async (_, present, over, hint) => {
    await expect(chooseDriver(computer(present, over))).rejects.toMatchObject({
      code: 'NO_MACHINE',
      exitCode: 3,
      hints: expect.arrayContaining([expect.stringMatching(hint)]),
    })
  })
})

describe('what a virtual machine needs', () => {
  const failing = async (driver: 'lima' | 'vagrant', of: Computer) =>
    (await guestChecks(driver, of)).filter(({ok}) => !ok)

  it('nothing more where all is there', async () => {
    expect(await failing('lima', computer({kvm: true, lima: '2.0.3'}))).toEqual([])
    expect(await failing('vagrant', computer({kvm: true, ...libvirt}))).toEqual([])
  })

  it('the program, with the fix of the platform', async () => {
    expect(await failing('lima', computer({}, {platform: 'darwin'}))).toMatchObject([
      {name: 'limactl', found: 'not found', fix: 'brew install lima', required: true},
    ])
    expect(await failing('lima', computer({kvm: true, lima: '1.0.7'}))).toMatchObject([
      {name: 'limactl', found: '1.0.7', fix: expect.stringContaining('2.0.0 or newer')},
    ])
    expect(await failing('vagrant', computer({kvm: true}))).toMatchObject([{name: 'vagrant'}])
  })

  it('a provider in cage’s own home of Vagrant', async () => {
    expect(await failing('vagrant', computer({kvm: true, vagrant: '2.4.1'}))).toMatchObject([
      {
        name: 'a Vagrant provider',
        fix: expect.stringMatching(
          /^VAGRANT_HOME=\/state\/cage\/.vagrant vagrant plugin install vagrant-libvirt/,
        ),
      },
    ])
  })

  it('an ordinary user for Lima', async () => {
    expect(await failing('lima', computer({kvm: true, lima: '2.0.3'}, {uid: 0}))).toMatchObject([
      {name: 'an ordinary user', required: true},
    ])
  })

  it('the processor’s help only by advice', async () => {
    const found = await failing('vagrant', computer({...libvirt}))
    expect(found).toMatchObject([{name: 'virtual machines by the processor', required: false}])
  })
})
