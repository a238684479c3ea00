import {readFileSync} from 'node:fs'
import {describe, expect, it} from '@jest/globals'
import {renderLima, renderRecord, sshPortOf, type VirtualMachine} from '../../../provision/machine/render.js'
import {expectGolden} from '../../support/golden.js'

const machine: VirtualMachine = {
  version: 1,
  id: 'shop-0a1b2c3d',
  project: 'shop',
  repository: '/home/person/shop',
  driver: 'vagrant',
  cluster: 'kubeadm',
  cpus: 4,
  memory: 8 * 1024 ** 3,
  disk: 60 * 1024 ** 3,
  sshPort: sshPortOf('shop-0a1b2c3d'),
}
const template = readFileSync(new URL('../../../lima/cage.yaml', import.meta.url), 'utf8')

describe('what the virtual machine drivers get', () => {
  it('machine.json for the Vagrantfile', () => {
    expectGolden('machine/vagrant.golden.json', renderRecord(machine))
  })

  it('lima.yaml', () => {
    expectGolden('machine/lima.golden.yaml', renderLima(template, machine))
  })

  it('a size that is no whole GiB is rounded up, never down', () => {
    const odd = {...machine, memory: 1.5 * 1024 ** 3, disk: 10 * 1024 ** 3 + 1}
    expect(renderLima(template, odd)).toMatch(/^memory: 1536MiB$/m)
  })

  it.each([
    ['mounts: []', 'mounts: [{location: "~"}]', 'mounts must be []'],
    ['forwardAgent: false', 'forwardAgent: true', 'ssh.forwardAgent must be false'],
    ['plain: true', 'plain: false', 'plain must be true'],
    ['portForwards: []', 'portForwards: [{guestPort: 80}]', 'portForwards must be []'],
  ])('a template with %s changed to %s is refused', (from, to, problem) => {
    expect(() => renderLima(template.replace(from, to), machine)).toThrow(problem)
  })
})
