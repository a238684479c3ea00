import {describe, expect, it} from '@jest/globals'
import {applyFirewall, firewallIs, firewallLines} from '../../../provision/firewall.js'
import {namespaceTransport} from '../../../provision/transport/namespace.js'
import {FakeRunner} from '../../support/fake-runner.js'

const settings = {
  dispatcher: {address: '10.200.150.1', port: 443},
  resolver: '10.0.2.3',
  computer: ['192.0.2.2', 'fd00::2'],
  publicPorts: [{protocol: 'tcp', port: 443}] as const,
  openings: [{address: '203.0.113.80/32', protocol: 'tcp', port: 443}] as const,
}

function machine(runner: FakeRunner) {
  return namespaceTransport(runner, () => Promise.resolve(42))
}

describe('the firewall of a machine', () => {
  it('is a sorted list of exact openings', () => {
    expect(firewallLines(settings)).toBe(
      [
        'computer 192.0.2.2',
        'dispatcher 10.200.150.1 443',
        'opening 203.0.113.80/32 tcp 443',
        'public tcp 443',
        'resolver 10.0.2.3',
        '',
      ].join('\n'),
    )
  })

  it.each([
    ['a wide range', '203.0.113.0/24', 443],
    ['everything', '0.0.0.0/0', 443],
    ['a name', 'example.com', 443],
    ['a second line', '1.2.3.4\nopening 0.0.0.0', 443],
    ['IPv6', '2001:db8::1', 443],
    ['port 0', '1.2.3.4', 0],
    ['half a port', '1.2.3.4', 1.5],
    ['a port too high', '1.2.3.4', 65536],
  ])('refuses %s', (_, address, port) => {
    const openings = [{address, protocol: 'tcp', port}] as const
    expect(() => firewallLines({...settings, openings})).toThrow(
      expect.objectContaining({code: 'FIREWALL_OPENING'}),
    )
  })

  it('is applied through standard input', async () => {
    const runner = new FakeRunner()
    await applyFirewall(machine(runner), settings)
    expect(runner.lines[0]).toMatch(/firewall\.sh apply$/)
    expect(runner.commands[0]?.input).toBe(firewallLines(settings))
  })

  it('fails with what nft said', async () => {
    const runner = new FakeRunner()
    runner.answer = () => ({code: 1, stderr: 'Error: syntax error\n'})
    await expect(applyFirewall(machine(runner), settings)).rejects.toMatchObject({
      code: 'FIREWALL_NOT_LOADED',
      message: expect.stringContaining('syntax error'),
    })
  })

  it('is loaded only when the machine shows exactly these rules', async () => {
    const runner = new FakeRunner()
    runner.answer = () => ({stdout: firewallLines(settings)})
    expect(await firewallIs(machine(runner), settings)).toBe(true)
    expect(await firewallIs(machine(runner), {...settings, openings: []})).toBe(false)
    runner.answer = () => ({code: 1})
    expect(await firewallIs(machine(runner), settings)).toBe(false)
  })
})
