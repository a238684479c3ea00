import {describe, expect, it} from '@jest/globals'
import {attacks, controls, besidePods, type Attack, type Targets} from '../../../tasks/verify/cases.js'
import type {Canary, Heard} from '../../../core/canary.js'
import {judge, layersOf, type PolicyFinding} from '../../../tasks/verify/judge.js'
import {parseSaid} from '../../../tasks/verify/attempt.js'

const canary = (where: Canary['where'], ports: number[]): Canary => ({
  where,
  address: where === 'machine' ? '10.9.0.2' : '10.9.0.1',
  ports,
  heard: () => [],
  knock: () => Promise.resolve(),
  close: () => Promise.resolve(),
})
const token = (id: string) => `cv${Buffer.from(id).toString('hex')}!`
const targets: Targets = {
  canaries: [canary('machine', [53, 80, 443, 20_000]), canary('computer', [20_000])],
  closed: [
    {name: 'API server', address: '10.9.0.2', port: 6443},
    {name: 'dispatcher', address: '10.9.9.9', port: 443},
  ],
  token,
  gitHost: 'git.cage.internal',
}
const all = [...controls(targets), ...attacks(targets), ...besidePods(targets)]
/** What the attacker says when everything is as it must be. */
const asExpected = new Map(
  all.map(({id, verdict}) => [id, verdict === 'no canary hears it' ? 'error: ConnectionResetError' : id]),
)
const quiet = {heard: [], token}
const one = (verdict: Attack['verdict'], id = 'NET-7'): Attack => ({
  id,
  class: 'NET',
  where: 'task',
  attack: 'x',
  expect: 'y',
  verdict,
  do: ['tcp', '10.9.0.2', 1, 'x'],
})

describe('the table of attacks', () => {
  it('names each case once, and aims at every canary and every closed address', () => {
    const ids = all.map(({id}) => id)
    expect(new Set(ids).size).toBe(ids.length)
    const told = JSON.stringify(all.map((attack) => attack.do))
    for (const {address, ports} of targets.canaries)
      for (const port of ports) expect(told).toContain(`"${address}",${port}`)
    for (const {address, port} of targets.closed) expect(told).toContain(`"${address}",${port}`)
  })

  it('carries its own token wherever a canary judges', () => {
    const heard = all.filter(({verdict}) => verdict === 'no canary hears it')
    expect(heard.length).toBeGreaterThan(20)
    for (const attack of heard) expect(JSON.stringify(attack.do)).toContain(token(attack.id))
  })

  it('tells fence and firewall apart: each has cases where it stands alone', () => {
    expect(all.filter(({layer}) => layer === 'fence').map(({id}) => id)).toEqual(['ADDR-5.dispatcher'])
    const firewall = all.filter(({layer}) => layer === 'firewall')
    expect(firewall.every(({where}) => where === 'beside the pods')).toBe(true)
    expect(JSON.stringify(firewall)).not.toContain('10.9.9.9')
  })
})

describe('the verdict', () => {
  const heardFor = (id: string): Heard & {where: string} => ({
    where: 'machine',
    protocol: 'tcp',
    port: 443,
    text: `GET /${token(id)} HTTP/1.1`,
  })

  it('is the canary’s, whatever the attacker believes', () => {
    const list = [one('no canary hears it')]
    const said = new Map([['NET-7', 'error: ConnectionResetError']])
    expect(judge(list, said, quiet)[0]).toMatchObject({ok: true})
    const [leak] = judge(list, said, {heard: [heardFor('NET-7')], token})
    expect(leak).toMatchObject({ok: false, got: 'the canary on the machine heard it on tcp 443'})
  })

  it('is failed for an attempt that was not made, or that stumbled over itself', () => {
    for (const said of [new Map<string, string>(), new Map([['NET-7', 'error: TypeError bad argument']])])
      expect(judge([one('no canary hears it')], said, quiet)[0]).toMatchObject({
        ok: false,
        got: 'was not tried',
      })
  })

  it('is a leak of its own when something else reaches a canary', () => {
    const stranger = {where: 'machine', protocol: 'tcp' as const, port: 443, text: '\u0016\u0003\u0001'}
    const said = new Map([['NET-7', 'sent']])
    const cases = judge([one('no canary hears it')], said, {heard: [stranger], token})
    expect(cases.map(({ok}) => ok)).toEqual([true, false])
    expect(cases[1]).toMatchObject({id: 'CANARY-rest', got: 'machine tcp 443'})
  })

  it('shows what was looked for rather than how the answer begins', () => {
    const said = new Map([['NET-7', 'answered: HTTP/1.1 200 OK\r\n\r\n002eng refs/heads/main not yours\n']])
    const got = (verdict: RegExp) => judge([one(verdict)], said, quiet)[0]?.got
    expect(got(/ng \S+ not yours/)).toBe('ng refs/heads/main not yours')
    expect(got(/^answered: /)).toBe('answered: HTTP/1.1 200 OK')
    expect(got(/something else/)).toBe('answered: HTTP/1.1 200 OK')
  })

  it('is what the kernel or the sidecar answered where no canary can hear', () => {
    const judged = (words: string) => judge([one(/^NXDOMAIN/)], new Map([['NET-7', words]]), quiet)[0]?.ok
    expect(judged('NXDOMAIN 0.0.0.0')).toBe(true)
    expect(judged('NOERROR 203.0.113.9')).toBe(false)
  })
})

describe('the layers', () => {
  const own = '         0  142540800      65536'
  const admission = {
    ...judge([], new Map(), quiet)[0]!,
    id: 'OPEN-13.admission',
    where: 'cluster API' as const,
  }
  const none = {found: 'open', promised: false} as const
  const states = (broken: string[], users = own, policy: PolicyFinding = none) => {
    const cases = [
      ...judge(all, asExpected, quiet).map((found) => ({...found, ok: !broken.includes(found.id)})),
      admission,
    ]
    return Object.fromEntries(
      layersOf(cases, all, {userMap: users, policy}).map(({name, state}) => [name, state]),
    )
  }

  it('are enforced when every case of theirs held', () => {
    expect(states([])).toEqual({
      fence: 'enforced',
      firewall: 'enforced',
      'network policy': 'none',
      'admission policy': 'enforced',
      seccomp: 'enforced',
      'user namespaces': 'enforced',
    })
  })

  it('are not when one broke', () => {
    expect(states(['ADDR-5.dispatcher'])).toMatchObject({fence: 'NOT enforced', firewall: 'enforced'})
    expect(states(['OPEN-11.machine.53'])).toMatchObject({fence: 'enforced', firewall: 'NOT enforced'})
    expect(states(['NET-10'])).toMatchObject({seccomp: 'NOT enforced'})
  })

  it.each<[PolicyFinding['found'], boolean, string]>([
    ['enforced', true, 'enforced'],
    ['open', true, 'NOT enforced'],
    ['open', false, 'none'],
    ['unproven', true, 'not tried'],
  ])('say of network policy that was seen %s, promised %s: %s', (found, promised, state) => {
    expect(states([], own, {found, promised})).toMatchObject({'network policy': state})
  })

  it('give the reason where network policy could not be tried', () => {
    const layers = layersOf([], [], {
      userMap: own,
      policy: {found: 'unproven', promised: true, obstacle: 'the pod did not start: quota'},
    })
    expect(layers.find(({name}) => name === 'network policy')).toMatchObject({
      state: 'not tried',
      how: 'the pod did not start: quota',
    })
  })

  it('tell users of their own from those of the machine', () => {
    expect(states([], '0 0 4294967295')).toMatchObject({'user namespaces': 'none'})
  })
})

describe('what the attacker prints', () => {
  it('is read line by line, and refused when it is anything else', () => {
    expect(parseSaid('{"id":"a","said":"b"}\n{"id":1}\n')).toEqual(new Map([['a', 'b']]))
    expect(() => parseSaid('Traceback\n')).toThrow('unreadable')
  })
})
