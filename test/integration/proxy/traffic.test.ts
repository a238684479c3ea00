import {createHash} from 'node:crypto'
import {gzipSync} from 'node:zlib'
import {afterAll, beforeAll, beforeEach, describe, expect, jest, test} from '@jest/globals'
import {parseAuthority} from '../../../core/certificates/authority.js'
import {MessageReader, encodeMessage, opcode} from '../../../proxy/websocket/frames.js'
import {egressRule} from '../../support/grants.js'
import {world} from './addresses.js'
import {missing, TestNetwork, type GrantChange} from './network.js'

const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
jest.setTimeout(120_000)
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

let network: TestNetwork
const grant = (): GrantChange => ({
  rules: [
    egressRule({id: 'all', host: 'allowed.test'}),
    egressRule({id: 'ws', host: 'ws.test', websocket: true}),
    egressRule({id: 'limited', host: 'limited.test', rate: {bytesUp: 1000}}),
    egressRule({id: 'mcp', host: 'mcp.test', mcp: {tools: ['search']}}),
    egressRule({id: 'corp', host: 'registry.corp'}),
  ],
  hosts: [
    {
      host: 'registry.corp',
      address: world.privateHost,
      port: 8443,
      ca: parseAuthority(network.privateCa).certificate,
    },
  ],
  routes: [
    {
      name: 'inference.local',
      url: `https://llm.corp:8443`,
      address: world.privateHost,
      ca: parseAuthority(network.privateCa).certificate,
    },
  ],
})
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence(`${world.resolver}/udp/53 ${world.dispatcher}/tcp/443 ${world.privateHost}/tcp/8443`)
  network.writeGrant(grant())
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())
/** Requests and frames; a handshake that the sidecar broke off carried none. */
const arrived = () =>
  network.seen().filter(({place, tls}) => !place.includes('resolver') && tls === undefined)

describeHere('bodies and streams', () => {
  test('events arrive one by one, not at the end', async () => {
    const script = `require('https').get({host: 'allowed.test', path: '/sse', ca: require('fs').readFileSync(process.env.CAGE_CA)}, (r) => {
      r.on('data', (c) => console.log(Date.now(), String(c).trim())) })`
    const {stdout} = await network.agent([process.execPath, '-e', script])
    const moments = stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => Number(line.split(' ')[0]))
    expect(moments).toHaveLength(3)
    expect(moments[2]! - moments[0]!).toBeGreaterThan(200)
  })

  test('20 MB down are whole', async () => {
    const {stdout} = await network.agent([
      'sh',
      '-c',
      `curl -sS --cacert "$CAGE_CA" https://allowed.test/large | sha256sum`,
    ])
    expect(stdout.toString().slice(0, 64)).toBe(
      createHash('sha256').update(Buffer.alloc(20_000_000, 'x')).digest('hex'),
    )
  })

  test('8 MB up are scanned and whole, with a length and without', async () => {
    for (const extra of [[], ['-H', 'Transfer-Encoding: chunked']]) {
      const input = Buffer.alloc(8_000_000, 'some text ')
      const {stdout} = await network.agent(
        [
          'curl',
          '-sS',
          '--cacert',
          network.caFile,
          '-X',
          'POST',
          ...extra,
          '--data-binary',
          '@-',
          'https://allowed.test/count',
        ],
        {input, timeoutMs: 60_000},
      )
      expect(JSON.parse(stdout.toString())).toMatchObject({bytes: 8_000_000})
    }
    expect((await network.audit()).at(-1)).toMatchObject({bytesUp: 8_000_000, status: 200})
  })

  test('an answer before the end of an upload does not hang the agent', async () => {
    for (const host of ['allowed.test', 'git.cage.internal']) {
      const input = Buffer.alloc(20_000_000)
      const {stdout, code} = await network.agent(
        [
          'curl',
          '-sS',
          '-m',
          '20',
          '--cacert',
          network.caFile,
          '-H',
          'Expect:',
          '--data-binary',
          '@-',
          `https://${host}/early`,
        ],
        {input, timeoutMs: 60_000},
      )
      expect([host, code, stdout.toString()]).toEqual([host, 0, 'early'])
    }
  })

  test('Expect: 100-continue is answered when the body may come, and not before', async () => {
    const send = (path: string, host: string) => [
      `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`,
      'abc',
    ]
    const open = await network.raw({
      host: world.canary,
      port: 443,
      tls: {servername: 'allowed.test'},
      send: send('/x', 'allowed.test'),
    })
    expect(open.text).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /)
    const closed = await network.raw({
      host: world.canary,
      port: 443,
      tls: {servername: 'denied.test'},
      send: send('/x', 'denied.test').slice(0, 1),
    })
    expect(closed.text).toMatch(/^HTTP\/1\.1 403 /)
    const git = await network.raw({
      host: world.canary,
      port: 443,
      tls: {servername: 'git.cage.internal'},
      send: send('/x', 'git.cage.internal'),
    })
    expect(git.text).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /)
    expect(arrived().map(({place, body}) => [place, body])).toEqual([
      ['public', 'abc'],
      ['dispatcher', 'abc'],
    ])
  })

  test('what goes to the dispatcher is not touched: compressed, chunked, any size', async () => {
    const pack = gzipSync('a pack with a token: ghp_ and what not')
    const {stdout} = await network.agent(
      [
        'curl',
        '-sS',
        '--cacert',
        network.caFile,
        '-H',
        'Content-Encoding: gzip',
        '-H',
        'Transfer-Encoding: chunked',
        '--data-binary',
        '@-',
        'https://git.cage.internal/shop.git/git-upload-pack?a=%2F',
      ],
      {input: pack},
    )
    expect(stdout.toString()).toContain('"bytes":' + String(pack.length))
    expect(arrived()).toMatchObject([{url: '/shop.git/git-upload-pack?a=%2F', body: pack.toString('latin1')}])
    const input = Buffer.alloc(80_000_000)
    const large = await network.agent(
      ['curl', '-sS', '--cacert', network.caFile, '--data-binary', '@-', 'https://git.cage.internal/count'],
      {input, timeoutMs: 90_000},
    )
    expect(JSON.parse(large.stdout.toString())).toMatchObject({bytes: 80_000_000})
  })

  test('a coding that cannot be looked into is refused, as is a lie about it (FRAME-9, FRAME-10)', async () => {
    for (const coding of ['zstd', 'gzip, gzip', 'gzip', 'nonsense']) {
      expect(
        (await network.curl('-H', `Content-Encoding: ${coding}`, '-d', 'not coded', 'https://allowed.test/x'))
          .reason,
      ).toBe('body_encoding')
    }
    expect(arrived()).toEqual([])
  })

  test('failures of the other side are named', async () => {
    expect(await network.curl('https://allowed.test/reset')).toMatchObject({
      status: 502,
      reason: 'upstream_unreachable',
    })
    expect((await network.curl('--http1.1', 'https://allowed.test/cut')).code).toBe(18)
    expect((await network.curl('https://allowed.test/cut')).code).toBe(92)
    expect((await network.audit()).at(-1)).toMatchObject({
      decision: 'allow',
      status: 200,
      detail: expect.stringContaining('ended early'),
    })
  })

  test('an agent that leaves is on record', async () => {
    await network.curl('-m', '0.3', 'https://allowed.test/sse')
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect((await network.audit()).at(-1)).toMatchObject({
      host: 'allowed.test',
      path: '/sse',
      decision: 'allow',
    })
  })
})

describeHere('the operator’s openings', () => {
  test('a name at a fixed address with its own CA, and a route into private space', async () => {
    expect(await network.curl('https://registry.corp/x')).toMatchObject({status: 200})
    expect(await network.curl('https://inference.local/v1/models')).toMatchObject({status: 200})
    expect(arrived().map(({place, url}) => [place, url])).toEqual([
      ['private', '/x'],
      ['private', '/v1/models'],
    ])
    expect((await network.audit()).at(-1)).toMatchObject({
      to: 'route',
      rule: 'route:inference.local',
      address: world.privateHost,
    })
  })

  test('open nothing else', async () => {
    expect((await network.curl('https://llm.corp/')).code).toBe(6)
    expect((await network.curl('http://inference.local/')).reason).toBe('host_not_allowed')
    expect(arrived()).toEqual([])
  })

  test('the certificate must hold: another CA, another name', async () => {
    const ca = parseAuthority(network.publicCa).certificate
    await network.put({
      ...grant(),
      hosts: [{host: 'registry.corp', address: world.privateHost, port: 8443, ca}],
    })
    expect(await network.curl('https://registry.corp/x')).toMatchObject({
      status: 502,
      reason: 'upstream_certificate',
    })
    await network.put({
      ...grant(),
      hosts: [
        {
          host: 'registry.corp',
          address: world.publicHost,
          port: 443,
          ca: parseAuthority(network.privateCa).certificate,
        },
      ],
    })
    expect(await network.curl('https://registry.corp/x')).toMatchObject({
      status: 502,
      reason: 'upstream_certificate',
    })
    expect(arrived()).toEqual([])
    await network.put(grant())
  })
})

describeHere('the dispatcher', () => {
  test('that is not there is a failure that can be read', async () => {
    const {dispatcher} = network.grant()
    await network.put({...grant(), dispatcher: {...dispatcher, port: 444}})
    expect(await network.curl('https://git.cage.internal/ready')).toMatchObject({
      status: 502,
      reason: 'dispatcher_unavailable',
      body: expect.stringContaining('cage_failed'),
    })
    expect((await network.curl('-A', 'git/2.39', 'https://git.cage.internal/x')).body).toContain(
      'cage: failed: dispatcher_unavailable',
    )
  })

  test('is trusted by the project’s CA alone', async () => {
    const {dispatcher} = network.grant()
    await network.put({
      ...grant(),
      dispatcher: {...dispatcher, ca: parseAuthority(network.publicCa).certificate},
    })
    expect((await network.curl('https://git.cage.internal/ready')).reason).toBe('dispatcher_unavailable')
    await network.put({...grant(), dispatcher: {...dispatcher, address: world.publicHost}})
    expect((await network.curl('https://git.cage.internal/ready')).reason).toBe('dispatcher_unavailable')
    expect(arrived()).toEqual([])
    await network.put(grant())
    expect((await network.curl('https://git.cage.internal/ready')).status).toBe(200)
  })
})

describeHere('rates and calls', () => {
  test('bytes up have a budget per rule', async () => {
    expect((await network.curl('-d', 'x'.repeat(600), 'https://limited.test/x')).status).toBe(200)
    expect(await network.curl('-d', 'x'.repeat(600), 'https://limited.test/x')).toMatchObject({
      status: 429,
      reason: 'rate_limited',
    })
    expect(arrived()).toHaveLength(1)
  })

  test('MCP calls are judged by what they call, all of a batch', async () => {
    const call = (name: string) => ({jsonrpc: '2.0', id: 1, method: 'tools/call', params: {name}})
    const post = (body: string) =>
      network.curl('-H', 'Content-Type: application/json', '-d', body, 'https://mcp.test/mcp')
    expect((await post(JSON.stringify(call('search')))).status).toBe(200)
    expect((await post(JSON.stringify(call('delete')))).reason).toBe('mcp_not_allowed')
    expect((await post(JSON.stringify([call('search'), call('delete')]))).reason).toBe('mcp_not_allowed')
    expect(
      (
        await post(
          '{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping","params":{"name":"delete"}}',
        )
      ).reason,
    ).toBe('mcp_unreadable')
    expect((await post('not json')).reason).toBe('mcp_unreadable')
    expect(arrived()).toHaveLength(1)
  })
})

describeHere('WebSocket', () => {
  const handshake =
    'GET /ws HTTP/1.1\r\nHost: ws.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n'
  const frame = (text: string) =>
    encodeMessage({opcode: opcode.text, payload: Buffer.from(text)}, true).toString('latin1')
  const speak = (...send: string[]) =>
    network.raw({host: world.canary, port: 443, tls: {servername: 'ws.test'}, send: [handshake, ...send]})
  const sent = () =>
    arrived()
      .filter(({frame: bytes}) => bytes !== undefined)
      .flatMap(({frame: bytes}) => new MessageReader(true).push(Buffer.from(String(bytes), 'latin1')))
      .map(({payload}) => payload.toString())

  test('messages pass both ways where a rule allows it, without extensions', async () => {
    const answer = await speak(frame('hello'))
    expect(answer.text).toMatch(/^HTTP\/1\.1 101 /)
    expect(answer.text).toContain('hi')
    expect(answer.text).not.toMatch(/extensions/i)
    expect(sent()).toEqual(['hello'])
  })

  test('each message of the agent is judged before it leaves', async () => {
    const answer = await speak(frame('fine'), frame(`my handle is ${network.handle}`), frame('after'))
    expect(answer.text).toContain('cage_denied: secret_found')
    expect(sent().filter((text) => text !== 'cage' && !text.includes('\u0003'))).toEqual(['fine'])
    expect((await network.audit()).at(-1)).toMatchObject({
      kind: 'tunnel',
      decision: 'deny',
      reason: 'secret_found',
    })
  })

  test('arbitrary bytes after the 101 do not pass (FRAME-5)', async () => {
    const answer = await speak('SSH-2.0-client\r\n')
    expect(answer.text).toContain('cage_denied: websocket_protocol')
    expect(JSON.stringify(arrived())).not.toContain('SSH')
  })

  test('a new grant without the rule ends an open one', async () => {
    const client = network.startAgent([
      process.execPath,
      '-e',
      `
      const s = require('tls').connect({host: 'ws.test', port: 443, servername: 'ws.test', ca: require('fs').readFileSync(process.env.CAGE_CA)}, () => s.write(${JSON.stringify(handshake)}))
      s.on('data', (d) => console.log('data')).on('close', () => console.log('closed')).on('error', () => undefined)`,
    ])
    let said = ''
    client.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
    await new Promise((resolve) => client.stdout.once('data', resolve))
    expect(said).toBe('data\n')
    await network.put({...grant(), rules: [egressRule({id: 'ws', host: 'ws.test'})]})
    await client.exit
    expect(said).toBe('data\nclosed\n')
  })
})
