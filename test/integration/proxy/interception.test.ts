import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {egressRule} from '../../support/grants.js'
import {world} from './addresses.js'
import {missing, TestNetwork} from './network.js'
import type {RawRequest} from './raw.js'

const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

let network: TestNetwork
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({
    rules: [
      egressRule({id: 'all', host: 'allowed.test'}),
      egressRule({id: 'get', host: 'api.allowed.test', methods: ['GET'], paths: ['/v1/**']}),
      egressRule({id: 'not-admin', effect: 'deny', host: 'api.allowed.test', paths: ['/v1/admin/**']}),
      egressRule({id: 'plain', host: 'plain.test', port: 80, scheme: 'http'}),
      egressRule({id: 'wild', host: '*.wild.test'}),
      egressRule({id: 'audited', effect: 'audit', host: 'audited.test'}),
      ...['rebind', 'metadata', 'loopback', 'synthetic'].map((name) =>
        egressRule({id: name, host: `${name}.test`}),
      ),
    ],
  })
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})

const tls = (servername: string) => ({servername})
const direct = (over: Partial<RawRequest>): RawRequest => ({host: world.canary, port: 443, send: [], ...over})
const get = (host: string, path = '/x') =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
const statusOf = (text: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1])
const arrived = () => network.seen().filter(({place}) => !place.includes('resolver'))
const proxy = ['-x', 'http://127.0.0.1:3128']

describeHere('by policy', () => {
  test('an allowed request arrives, transparently and through the proxy port', async () => {
    expect(await network.curl('https://allowed.test/x?y=1')).toMatchObject({status: 200})
    expect(await network.curl(...proxy, 'https://allowed.test/x?y=1')).toMatchObject({status: 200})
    expect(arrived().map(({place, url}) => [place, url])).toEqual([
      ['public', '/x?y=1'],
      ['public', '/x?y=1'],
    ])
  })

  test('deny beats allow; method and path count', async () => {
    expect(await network.curl('https://api.allowed.test/v1/things')).toMatchObject({status: 200})
    expect(await network.curl('https://api.allowed.test/v1/admin/x')).toMatchObject({
      status: 403,
      reason: 'denied_by_rule',
    })
    expect(await network.curl('https://api.allowed.test/v1/x', '-X', 'DELETE')).toMatchObject({
      status: 403,
      reason: 'method_not_allowed',
    })
    expect(await network.curl('https://api.allowed.test/v2/x')).toMatchObject({
      status: 403,
      reason: 'path_not_allowed',
    })
    expect(arrived()).toHaveLength(1)
  })

  test('a denial can be read, and is on record', async () => {
    network.seen()
    const {body} = await network.curl(...proxy, 'https://denied.test/secret-path')
    const denial = JSON.parse(body) as Record<string, string>
    expect(denial).toMatchObject({
      error: 'cage_denied',
      reason: 'host_not_allowed',
      rule: null,
      host: 'denied.test',
      method: 'GET',
      port: 443,
    })
    expect(denial['hint']).toContain('cage.yaml')
    const record = (await network.audit()).find(({requestId}) => requestId === denial['request_id'])
    expect(record).toMatchObject({
      decision: 'deny',
      reason: 'host_not_allowed',
      host: 'denied.test',
      status: 403,
    })
    expect(network.seen()).toEqual([])
  })

  test('git reads its denial as text', async () => {
    expect((await network.curl('-A', 'git/2.39.5', 'https://api.allowed.test/x.git/info/refs')).body).toMatch(
      /^cage: denied: path_not_allowed\. /,
    )
  })

  test('what is audited arrives, and is recorded as would be denied', async () => {
    expect(await network.curl('https://audited.test/x')).toMatchObject({status: 200})
    expect((await network.audit()).at(-1)).toMatchObject({decision: 'audit', would: 'deny', rule: 'audited'})
  })

  test('plain HTTP has its own rules, the same pipeline (FRAME-6)', async () => {
    expect(await network.curl('http://plain.test/x')).toMatchObject({status: 200})
    expect(await network.curl(...proxy, 'http://plain.test/x')).toMatchObject({status: 200})
    expect(await network.curl(...proxy, '-p', 'http://plain.test/x')).toMatchObject({status: 200})
    expect(await network.curl('http://allowed.test/x')).toMatchObject({
      status: 403,
      reason: 'port_not_allowed',
    })
    expect(await network.curl(...proxy, 'http://allowed.test/x')).toMatchObject({reason: 'port_not_allowed'})
    expect(await network.curl(...proxy, 'https://plain.test/x')).toMatchObject({reason: 'port_not_allowed'})
    expect(arrived().filter(({place}) => place === 'public-http')).toHaveLength(3)
  })

  test('other ports are refused by rule, and refused fast (NET-7, NET-13)', async () => {
    expect(await network.curl(...proxy, 'https://allowed.test:8443/x')).toMatchObject({
      reason: 'port_not_allowed',
    })
    expect((await network.curl('telnet://allowed.test:22')).code).not.toBe(0)
    expect((await network.audit()).at(-1)).toMatchObject({
      kind: 'connection',
      reason: 'port_not_allowed',
      host: 'allowed.test',
    })
  })

  test('a wildcard lets sub-domains through, its own name not, and its names are few', async () => {
    expect(await network.curl('https://a.wild.test/x')).toMatchObject({status: 200})
    expect((await network.curl('https://wild.test/x')).code).toBe(6)
    const long = `${'d'.repeat(63)}.x.wild.test`
    network.seen()
    expect(await network.curl(...proxy, `https://${long}/`)).toMatchObject({reason: 'name_budget'})
    expect(network.seen()).toEqual([])
  })

  test('a push to any other git server is refused, whatever the rules say', async () => {
    expect(await network.curl('https://allowed.test/x.git/info/refs?service=git-receive-pack')).toMatchObject(
      {reason: 'git_push_outside_dispatcher'},
    )
    expect(await network.curl('https://allowed.test/dns-query')).toMatchObject({reason: 'dns_over_https'})
  })
})

describeHere('names that disagree (TLS)', () => {
  beforeAll(() => void network.seen())

  test.each<[string, Partial<RawRequest>, number]>([
    [
      'TLS-2 another name inside a CONNECT',
      {
        host: '127.0.0.1',
        port: 3128,
        through: 'CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n',
        tls: tls('canary.test'),
        send: [get('canary.test')],
      },
      421,
    ],
    ['another Host inside TLS', {tls: tls('allowed.test'), send: [get('canary.test')]}, 421],
    ['a denied TLS name with an allowed Host', {tls: tls('canary.test'), send: [get('allowed.test')]}, 421],
    [
      'TLS-1 another Host than the URL',
      {
        host: '127.0.0.1',
        port: 3128,
        send: ['GET http://plain.test/x HTTP/1.1\r\nHost: canary.test\r\n\r\n'],
      },
      421,
    ],
    [
      'TLS-1 another URL than the Host',
      {
        host: '127.0.0.1',
        port: 3128,
        send: ['GET http://canary.test/x HTTP/1.1\r\nHost: plain.test\r\n\r\n'],
      },
      421,
    ],
    ['TLS-9 plain HTTP to an address', {port: 80, send: [get('plain.test')]}, 403],
    [
      'TLS-3 CONNECT to an address',
      {
        host: '127.0.0.1',
        port: 3128,
        send: [`CONNECT ${world.canary}:443 HTTP/1.1\r\nHost: ${world.canary}:443\r\n\r\n`],
      },
      403,
    ],
    [
      'NAME-1 a NUL in a CONNECT',
      {host: '127.0.0.1', port: 3128, send: ['CONNECT evil\u0000.allowed.test:443 HTTP/1.1\r\n\r\n']},
      400,
    ],
    [
      'NAME-5 two ports',
      {
        host: '127.0.0.1',
        port: 3128,
        send: ['CONNECT canary.test:443.allowed.test:443 HTTP/1.1\r\nHost: x\r\n\r\n'],
      },
      400,
    ],
    [
      'NAME-3 a zone id',
      {
        host: '127.0.0.1',
        port: 3128,
        send: [`CONNECT [::ffff:${world.canary}%25.allowed.test]:443 HTTP/1.1\r\nHost: x\r\n\r\n`],
      },
      400,
    ],
    [
      'NAME-4 an octal address',
      {
        host: '127.0.0.1',
        port: 3128,
        send: ['CONNECT 0177.0.0.1:443 HTTP/1.1\r\nHost: 0177.0.0.1:443\r\n\r\n'],
      },
      403,
    ],
    [
      'NAME-4 a number for an address',
      {
        host: '127.0.0.1',
        port: 3128,
        send: ['GET http://2852039166/latest HTTP/1.1\r\nHost: 2852039166\r\n\r\n'],
      },
      403,
    ],
  ])('%s is refused', async (_name, request, status) => {
    const answer = await network.raw(direct(request))
    expect([statusOf(answer.tunnel ?? ''), statusOf(answer.text)]).toContain(status)
    expect(arrived()).toEqual([])
  })

  test('TLS-4 no TLS name, or an address for one, gets no answer', async () => {
    for (const servername of ['', world.canary]) {
      const answer = await network.raw(direct({tls: tls(servername), send: [get('allowed.test')]}))
      expect(answer.text).toBe('')
      expect(answer.error).toBeDefined()
    }
    expect((await network.audit()).some((record) => record.reason === 'sni_missing')).toBe(true)
    expect(arrived()).toEqual([])
  })

  test('TLS-5 every request on a kept connection is judged', async () => {
    const keep = 'GET /one HTTP/1.1\r\nHost: allowed.test\r\n\r\n'
    const answer = await network.raw(direct({tls: tls('allowed.test'), send: [keep, get('canary.test')]}))
    expect([...answer.text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, code]) => code)).toEqual(['200', '421'])
    expect(arrived().map(({place, url}) => [place, url])).toEqual([['public', '/one']])
  })

  test('TLS-6 the allowed name at an address of the agent goes where the sidecar resolves it', async () => {
    expect(
      await network.curl('--resolve', `allowed.test:443:${world.canary}`, 'https://allowed.test/x'),
    ).toMatchObject({status: 200})
    expect(arrived().map(({place}) => place)).toEqual(['public'])
  })

  test('TLS-7 an https URL on the proxy port is judged as that URL', async () => {
    const send = ['GET https://canary.test/x HTTP/1.1\r\nHost: canary.test\r\nConnection: close\r\n\r\n']
    expect(statusOf((await network.raw({host: '127.0.0.1', port: 3128, send})).text)).toBe(403)
    expect(arrived()).toEqual([])
  })

  test('a tunnel carries neither raw bytes nor another tunnel', async () => {
    const through = 'CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n'
    const raw = await network.raw({host: '127.0.0.1', port: 3128, through, send: ['SSH-2.0-client\r\n']})
    expect(statusOf(raw.text)).toBe(400)
    const nested = await network.raw({
      host: '127.0.0.1',
      port: 3128,
      through,
      tls: tls('allowed.test'),
      send: ['CONNECT canary.test:443 HTTP/1.1\r\nHost: canary.test:443\r\n\r\n'],
    })
    expect(nested.text).not.toMatch(/^HTTP\/1\.1 200/)
    expect(arrived()).toEqual([])
  })

  test('HTTP/2 is spoken but at the dispatcher’s door, and nothing unknown', async () => {
    const spoken = async (servername: string, ...alpn: string[]) => {
      const answer = await network.raw(direct({tls: {servername, alpn}, send: []}))
      return answer.error === undefined ? answer.alpn : 'refused'
    }
    expect(await spoken('allowed.test', 'http/1.1', 'h2')).toBe('h2')
    expect(await spoken('allowed.test', 'http/1.1')).toBe('http/1.1')
    expect(await spoken('git.cage.internal', 'h2', 'http/1.1')).toBe('http/1.1')
    expect(await spoken('git.cage.internal', 'h2')).toBe('refused')
    expect(await spoken('allowed.test', 'h3', 'spdy/3')).toBe('refused')
  })
})

describeHere('framing (FRAME)', () => {
  const post = (headers: string, body = '') =>
    `POST /x HTTP/1.1\r\nHost: allowed.test\r\n${headers}\r\n${body}`
  const chunked = 'Transfer-Encoding: chunked\r\n'
  beforeAll(() => void network.seen())

  test.each([
    ['two lengths', post('Content-Length: 1\r\nContent-Length: 1\r\n', 'a')],
    ['two different lengths', post('Content-Length: 1\r\nContent-Length: 30\r\n', 'a')],
    ['a list of lengths', post('Content-Length: 1, 1\r\n', 'a')],
    ['length and chunks', post(`Content-Length: 1\r\n${chunked}`, '0\r\n\r\n')],
    ['a signed length', post('Content-Length: +1\r\n', 'a')],
    ['a hexadecimal length', post('Content-Length: 0x1\r\n', 'a')],
    ['another coding', post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n')],
    ['chunks twice', post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n')],
    ['a folded header', post('X: a\r\n b\r\nContent-Length: 0\r\n')],
    ['a bare line feed', 'GET /x HTTP/1.1\nHost: allowed.test\n\n'],
    ['a space before the colon', post('Content-Length : 1\r\n', 'a')],
    ['a chunk size that overflows', post(chunked, 'fffffffffffffffff\r\na\r\n0\r\n\r\n')],
    ['a chunk size with a line feed only', post(chunked, '1\na\n0\n\n')],
    ['a NUL in a header', post('X: a\u0000b\r\nContent-Length: 0\r\n')],
    ['HTTP/1.2', 'GET /x HTTP/1.2\r\nHost: allowed.test\r\n\r\n'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['an unknown method', 'HELLO /x HTTP/1.1\r\nHost: allowed.test\r\n\r\n'],
    ['a space in the path', 'GET /x y HTTP/1.1\r\nHost: allowed.test\r\n\r\n'],
    ['bytes beyond ASCII in the path', 'GET /\u00e9 HTTP/1.1\r\nHost: allowed.test\r\n\r\n'],
    ['a hop header that is none', post('Connection: authorization\r\nContent-Length: 0\r\n')],
    ['two hosts', 'GET /x HTTP/1.1\r\nHost: allowed.test\r\nHost: allowed.test\r\n\r\n'],
    ['no host', 'GET /x HTTP/1.1\r\n\r\n'],
    ['TRACE', 'TRACE /x HTTP/1.1\r\nHost: allowed.test\r\n\r\n'],
    ['a path above the root', 'GET /a/../../x HTTP/1.1\r\nHost: allowed.test\r\n\r\n'],
    ['an encoded slash', 'GET /a%2f..%2fx HTTP/1.1\r\nHost: allowed.test\r\n\r\n'],
    ['headers of 17 KB', post(`X: ${'a'.repeat(17_000)}\r\nContent-Length: 0\r\n`)],
  ])('%s is refused', async (_name, text) => {
    const answer = await network.raw(direct({tls: tls('allowed.test'), send: [text]}))
    expect(answer.text === '' || statusOf(answer.text) >= 400).toBe(true)
    expect(arrived()).toEqual([])
  })

  test('what the parser rejects is on record as well', async () => {
    const records = (await network.audit()).filter((entry) => entry.reason === 'http_malformed')
    const record = records.find(({host}) => host !== undefined)
    expect(record).toMatchObject({
      kind: 'connection',
      decision: 'deny',
      host: 'allowed.test',
      detail: expect.stringMatching(/^HPE_/),
    })
  })

  test('what follows a body is a request of its own', async () => {
    const send = [
      post(
        'Content-Length: 3\r\n',
        'abcGET /smuggled HTTP/1.1\r\nHost: canary.test\r\nConnection: close\r\n\r\n',
      ),
    ]
    const answer = await network.raw(direct({tls: tls('allowed.test'), send}))
    expect([...answer.text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, code]) => code)).toEqual(['200', '421'])
    expect(arrived()).toMatchObject([{url: '/x', body: 'abc'}])
  })

  test('framing is made anew: chunk extensions and trailers stay behind', async () => {
    await network.raw(
      direct({
        tls: tls('allowed.test'),
        send: [
          post(`${chunked}Connection: close\r\n`, '3;ext=secret\r\nabc\r\n0\r\nX-Trailer: secret\r\n\r\n'),
        ],
      }),
    )
    const [event] = arrived()
    expect(event).toMatchObject({body: 'abc'})
    expect(JSON.stringify(event)).not.toContain('secret')
  })

  test('a GET keeps its body and is still one request (FRAME-3)', async () => {
    expect((await network.curl('-X', 'GET', '-d', 'abc', 'https://allowed.test/x')).status).toBe(200)
    expect(arrived()).toMatchObject([{method: 'GET', body: 'abc', bytes: 3}])
  })

  test('methods cannot be overridden, and the path is forwarded as it was judged (FRAME-7, FRAME-8)', async () => {
    await network.curl(
      '-H',
      'X-HTTP-Method-Override: DELETE',
      '-H',
      'X-Method-Override: PUT',
      '--path-as-is',
      'https://allowed.test//a/./b/../c;v=1?x=/v1',
    )
    const [event] = arrived()
    expect(event).toMatchObject({url: '/a/c?x=/v1'})
    expect(JSON.stringify(event)).not.toMatch(/override/i)
    expect(await network.curl('--path-as-is', 'https://api.allowed.test/v1/../v2/x')).toMatchObject({
      status: 403,
    })
    expect(await network.curl('--path-as-is', 'https://api.allowed.test/v1/%2e%2e/v2/x')).toMatchObject({
      status: 403,
    })
    expect(arrived()).toEqual([])
  })

  test('a WebSocket needs a rule, and h2c is not spoken (FRAME-5)', async () => {
    const upgrade = [
      '--http1.1',
      '-H',
      'Connection: Upgrade',
      '-H',
      'Upgrade: websocket',
      '-H',
      'Sec-WebSocket-Version: 13',
      '-H',
      'Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==',
    ]
    expect(await network.curl(...upgrade, 'https://allowed.test/ws')).toMatchObject({
      status: 403,
      reason: 'websocket_not_allowed',
    })
    expect(
      await network.curl(
        '-H',
        'Connection: Upgrade, HTTP2-Settings',
        '-H',
        'Upgrade: h2c',
        '-H',
        'HTTP2-Settings: AAMAAABkAAQAAP__',
        '--http1.1',
        'https://allowed.test/x',
      ),
    ).toMatchObject({status: 200})
    const events = arrived()
    expect(events).toHaveLength(1)
    expect(JSON.stringify(events)).not.toMatch(/upgrade|settings/i)
  })

  test('a response leads nowhere else (ADDR-4)', async () => {
    const answer = await network.curl('-i', 'https://allowed.test/alt-svc')
    expect(answer.body).not.toMatch(/alt-svc|x-hop/i)
    expect((await network.curl('-L', 'https://allowed.test/redirect')).reason).toBe('address_literal')
    expect(arrived().map(({place}) => place)).not.toContain('metadata')
  })
})

describeHere('addresses (ADDR)', () => {
  test.each(['rebind', 'metadata', 'loopback', 'synthetic'])(
    'ADDR-2 an allowed name that leads inside is refused: %s',
    async (name) => {
      network.seen()
      expect(await network.curl(`https://${name}.test/x`)).toMatchObject({
        status: 403,
        reason: 'address_not_public',
      })
      expect(arrived()).toEqual([])
      expect((await network.audit()).at(-1)?.detail).toMatch(/private|metadata|loopback|benchmark/)
    },
  )

  test('the agent never learns an address but synthetic ones', async () => {
    const {stdout} = await network.agent([
      process.execPath,
      '-e',
      `require('dns').resolve4('allowed.test', (e, a) => console.log(JSON.stringify(a)))`,
    ])
    expect(JSON.parse(stdout.toString())).toEqual([expect.stringMatching(/^198\.18\./)])
  })
})
