import {readFileSync} from 'node:fs'
import {describe, expect, it} from '@jest/globals'
import {renderLima, vagrantMachine} from '../../../provision/machine/render.js'
import {guestName} from '../../../provision/machine/virtual-machine.js'
import {guestDescription} from '../../support/virtual-machine-contract.js'
import {expectGolden} from '../../support/golden.js'

const machine = guestDescription()
const text = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const template = text('lima/cage.yaml')
const script = text('provision/guest/vm/boot.sh')

describe('what the virtual machine drivers get', () => {
  it('machine.json for the Vagrantfile', () => {
    expectGolden('machine/vagrant.golden.json', vagrantMachine(machine, {emulated: false}))
  })

  it('lima.yaml', () => {
    expectGolden('machine/lima.golden.yaml', renderLima(template, script, machine))
  })

  it('an image of the person’s own instead of the pinned ones', () => {
    const rendered = renderLima(template, script, {...machine, image: '/images/debian.qcow2'})
    expect(rendered).toMatch(/^images:\n {2}- location: \/images\/debian.qcow2\n(?! {2})/m)
  })

  it('a name that is never the same for two projects and leaves room for a socket’s path', () => {
    const long = 'a-project-with-a-very-long-name-'
    expect(guestName('shop-0a1b2c3d')).toBe('shop-0a1b2c3d')
    expect(guestName(`${long}0a1b2c3d`)).toMatch(/^[a-z-]+-[0-9a-f]{12}$/)
    expect(guestName(`${long}0a1b2c3d`).length).toBeLessThanOrEqual(24)
    expect(guestName(`${long}0a1b2c3d`)).not.toBe(guestName(`${long}0a1b2c3e`))
  })

  it('a size that is no whole GiB is rounded up, never down', () => {
    const odd = {...machine, memory: 1.5 * 1024 ** 3, disk: 10 * 1024 ** 3 + 1}
    expect(renderLima(template, script, odd)).toMatch(/^memory: 1536MiB$/m)
  })

  it.each([
    ['mounts: []', 'mounts: [{location: "~"}]', 'mounts must be []'],
    ['forwardAgent: false', 'forwardAgent: true', 'ssh.forwardAgent must be false'],
    ['plain: true', 'plain: false', 'plain must be true'],
    ['mode: boot', 'mode: system', 'provision.0.mode must be "boot"'],
    ['portForwards: []', 'portForwards: [{guestPort: 80}]', 'portForwards must be []'],
  ])('a template with %s changed to %s is refused', (from, to, problem) => {
    expect(() => renderLima(template.replace(from, to), script, machine)).toThrow(problem)
  })
})
