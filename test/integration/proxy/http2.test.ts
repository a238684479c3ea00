import {createHash} from 'node:crypto'
import {readFileSync} from 'node:fs'
import {gzipSync} from 'node:zlib'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {egressRule} from '../../support/grants.js'
import {world} from './addresses.js'
import {
  answerOf,
  flag,
  frame,
  framesOf,
  headerBlock,
  headers,
  preface,
  request,
  reset,
  settings,
  type,
} from './http2-frames.js'
import {missing, TestNetwork, type GrantChange} from './network.js'

const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const key = {name: 'key', placeholder: 'cage-ph-aabbccddeeff0011', host: 'h2.test', port: 443} as const
const value = 'real-value-0123456789'
const grant = (): GrantChange => ({
  rules: ['h2.test', 'grpc.test', 'allowed.test', 'ws.test'].map((host) => egressRule({id: host, host})),
  credentials: [{...key, inject: {kind: 'header', header: 'x-key', template: '{}'}}],
})
let network: TestNetwork
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant(grant(), {key: value})
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())

const arrived = () =>
  network
    .seen()
    .filter(
      ({place, path, unary, message, url}) =>
        !place.includes('resolver') && (path ?? unary ?? message ?? url) !== undefined,
    )
const h2 = ['--http2', '-w', '\n%{http_version} %{http_code}']
const curl = async (...argv: string[]) => {
  const {stdout, stderr, code} = await network.agent([
    'curl',
    '-sS',
    '-m',
    '20',
    '--cacert',
    network.caFile,
    ...h2,
    ...argv,
  ])
  const text = stdout.toString()
  const [version = '', status = ''] = text.slice(text.lastIndexOf('\n') + 1).split(' ')
  return {code, stderr, version, status: Number(status), body: text.slice(0, text.lastIndexOf('\n'))}
}
const grpc = async (what: Record<string, unknown>) => {
  const {stdout, stderr} = await network.agent([
    process.execPath,
    network.path('grpc-agent.mjs'),
    JSON.stringify(what),
  ])
  expect(stderr).toBe('')
  return stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as {answer?: string; code?: number; details?: string})
}
const speak = (host: string, ...send: string[]) =>
  network.raw({
    host: world.canary,
    port: 443,
    tls: {servername: host, alpn: ['h2']},
    send: [preface + settings() + send.join('')],
  })

describeHere('HTTP/2', () => {
  test('to a host that speaks it, and to one that does not', async () => {
    expect(await curl('-d', 'text', 'https://h2.test/x')).toMatchObject({version: '2', status: 200})
    expect(await curl('-d', 'text', 'https://allowed.test/x')).toMatchObject({version: '2', status: 200})
    expect(arrived()).toMatchObject([
      {place: 'http2', body: 'text'},
      {place: 'public', body: 'text'},
    ])
    expect((await network.audit()).at(-1)).toMatchObject({
      decision: 'allow',
      host: 'allowed.test',
      bytesUp: 4,
      address: world.publicHost,
    })
  })

  test('an agent of HTTP/1.1 reaches only hosts that speak that, the dispatcher’s door too', async () => {
    expect(await curl('--http1.1', 'https://allowed.test/x')).toMatchObject({version: '1.1', status: 200})
    expect(await curl('https://git.cage.internal/ready')).toMatchObject({version: '1.1', status: 200})
  })

  test('is judged like any request', async () => {
    expect(await curl('https://h2.test/x.git/info/refs?service=git-receive-pack')).toMatchObject({
      status: 403,
    })
    expect(JSON.parse((await curl('-d', `my ${network.handle}`, 'https://h2.test/x')).body)).toMatchObject({
      reason: 'secret_found',
    })
    expect(
      JSON.parse((await curl('-H', `x-other: ${network.handle}`, 'https://h2.test/x')).body),
    ).toMatchObject({reason: 'secret_found'})
    expect(
      JSON.parse((await curl('-H', `x-other: ${key.placeholder}`, 'https://h2.test/x')).body),
    ).toMatchObject({reason: 'placeholder_unbound'})
    expect(arrived()).toEqual([])
  })

  test('carries credentials out and never back', async () => {
    const {body} = await curl('-H', `x-key: ${key.placeholder}`, 'https://h2.test/x')
    expect(arrived()).toMatchObject([{raw: expect.arrayContaining(['x-key', value])}])
    expect(body).toContain(key.placeholder)
    expect(body).not.toContain(value)
  })

  test('20 MB come down whole, 8 MB go up whole and scanned', async () => {
    const down = await network.agent([
      'sh',
      '-c',
      `curl -sS --http2 --cacert "$CAGE_CA" https://h2.test/large | sha256sum`,
    ])
    expect(down.stdout.toString().slice(0, 64)).toBe(
      createHash('sha256').update(Buffer.alloc(20_000_000, 'x')).digest('hex'),
    )
    const input = Buffer.alloc(8_000_000, 'some text ')
    const up = await network.agent(
      ['curl', '-sS', '--http2', '--cacert', network.caFile, '--data-binary', '@-', 'https://h2.test/count'],
      {input},
    )
    expect(JSON.parse(up.stdout.toString())).toMatchObject({bytes: 8_000_000})
    const secret = Buffer.concat([input, Buffer.from(network.handle), input])
    network.seen()
    const cut = await network.agent(
      ['curl', '-sS', '--http2', '--cacert', network.caFile, '--data-binary', '@-', 'https://h2.test/count'],
      {input: secret},
    )
    expect(cut.stdout.toString()).not.toContain('"bytes"')
    expect(arrived()).toEqual([])
  })
})

describeHere('gRPC', () => {
  test('calls, their errors in trailers, and streams in both directions', async () => {
    expect(await grpc({unary: ['a', 'b'], both: ['1', '2', '3']})).toEqual(
      ['a', 'b', '1', '2', '3'].map((text) => ({answer: `echo ${text}`})),
    )
    expect(await grpc({unary: ['fail']})).toEqual([{code: 5, details: 'no such thing'}])
    expect(await grpc({unary: ['x'.repeat(20_000)], gzip: true})).toEqual([
      {answer: `echo ${'x'.repeat(20_000)}`},
    ])
  })

  test('over HTTP/1.1 it is a body like any other, and so is its denial', async () => {
    const send = (path: string) =>
      network.curl(
        '--http1.1',
        '-H',
        'Content-Type: application/grpc',
        '-d',
        network.handle,
        `https://h2.test${path}`,
      )
    expect(await send('/x')).toMatchObject({status: 403, reason: 'secret_found'})
    expect(arrived()).toEqual([])
  })

  test('a body that is coded as a whole is decoded as a whole', async () => {
    const input = gzipSync(`it is ${network.handle}`)
    const coded = [
      '-H',
      'Content-Type: application/grpc',
      '-H',
      'Content-Encoding: gzip',
      '--data-binary',
      '@-',
    ]
    const argv = [
      'curl',
      '-sS',
      '--http2',
      '-D',
      '-',
      '--cacert',
      network.caFile,
      ...coded,
      'https://h2.test/x',
    ]
    const {stdout} = await network.agent(argv, {input})
    expect(stdout.toString()).toContain('secret_found')
    expect(arrived()).toEqual([])
  })

  test('every message is judged before it leaves, compressed ones decoded', async () => {
    for (const gzip of [false, true]) {
      network.seen()
      const [denied] = await grpc({unary: [`it is ${network.handle} ${'x'.repeat(2000)}`], gzip})
      expect(denied).toMatchObject({code: 7, details: expect.stringContaining('"reason":"secret_found"')})
      const heard = await grpc({both: ['fine', `it is ${network.handle}`, 'after'], gzip})
      expect(heard[0]).toEqual({answer: 'echo fine'})
      expect(heard[1]?.code).toBeGreaterThan(0)
      expect(arrived().map(({unary, message}) => unary ?? message)).toEqual(['fine'])
    }
  })
})

describeHere('names and lines that disagree', () => {
  const post = {':method': 'POST'}
  test.each<[string, string, RegExp]>([
    ['an authority of another host (coalescing)', headers(1, request('allowed.test')), /target_mismatch/],
    [
      'a Host beside the authority',
      headers(1, request('h2.test', {}, [['host', 'allowed.test']])),
      /target_mismatch/,
    ],
    ['another port', headers(1, request('h2.test:8443')), /target_mismatch/],
    ['another scheme', headers(1, request('h2.test', {':scheme': 'http'})), /http_malformed/],
    ['a path above the root', headers(1, request('h2.test', {':path': '/a/../../b'})), /path_above_root/],
    [
      'a secret in pieces of a cookie',
      headers(
        1,
        request('h2.test', {}, [
          ['cookie', 'CUT-1'],
          ['cookie', 'CUT-2'],
        ]),
      ),
      /secret_found|200/,
    ],
    [
      'CONNECT',
      headers(1, [
        [':method', 'CONNECT'],
        [':authority', 'h2.test:443'],
      ]),
      /method_not_allowed/,
    ],
  ])('%s', async (name, bytes, expected) => {
    const {handle} = network
    const sent = name.includes('cookie')
      ? headers(
          1,
          request('h2.test', {}, [
            ['cookie', handle.slice(0, 20)],
            ['x-a', 'b'],
            ['cookie', handle.slice(20)],
          ]),
        )
      : bytes
    const {text} = await speak('h2.test', sent)
    if (!name.includes('cookie')) expect(answerOf(text, 1).body).toMatch(expected)
    expect(
      arrived().filter(({raw}) => !name.includes('cookie') || JSON.stringify(raw).includes(handle)),
    ).toEqual([])
  })

  test.each<[string, string]>([
    [
      'two Hosts',
      headers(
        1,
        request('h2.test', {}, [
          ['host', 'h2.test'],
          ['host', 'h2.test'],
        ]),
      ),
    ],
    ['a pseudo-header after others', headers(1, [...request('h2.test', {}, [['a', 'b']]), [':path', '/y']])],
    ['a pseudo-header twice', headers(1, [...request('h2.test'), [':path', '/y']])],
    ['an unknown pseudo-header', headers(1, [[':evil', 'x'], ...request('h2.test')])],
    ['a name in capitals', headers(1, request('h2.test', {}, [['X-Up', '1']]))],
    ['Connection', headers(1, request('h2.test', {}, [['connection', 'x-a']]))],
    ['Transfer-Encoding', headers(1, request('h2.test', {}, [['transfer-encoding', 'chunked']]))],
    ['TE other than trailers', headers(1, request('h2.test', {}, [['te', 'gzip']]))],
    [
      'a WebSocket in a stream (RFC 8441)',
      headers(1, request('h2.test', {':method': 'CONNECT', ':protocol': 'websocket'})),
    ],
    [
      'more DATA than content-length',
      headers(1, request('h2.test', post, [['content-length', '2']]), flag.endHeaders) +
        frame(type.data, flag.endStream, 1, Buffer.from('abcd')),
    ],
    [
      'less DATA than content-length',
      headers(1, request('h2.test', post, [['content-length', '9']]), flag.endHeaders) +
        frame(type.data, flag.endStream, 1, Buffer.from('abcd')),
    ],
    [
      'a stream taken back before its end',
      headers(1, request('h2.test', post), flag.endHeaders) +
        frame(type.data, 0, 1, Buffer.from('abcd')) +
        reset(1, 0),
    ],
    [
      'a block without its end',
      headers(1, request('h2.test'), flag.endStream) + headers(3, request('h2.test')),
    ],
  ])('%s never arrives', async (_name, bytes) => {
    const {text} = await speak('h2.test', bytes)
    expect(answerOf(text, 1).body).not.toContain('"raw"')
    expect(arrived()).toEqual([])
    expect(await curl('https://h2.test/x')).toMatchObject({status: 200})
  })

  test('a line that is none is taken out before the rest is judged', async () => {
    for (const bad of ['b\r\nhost: c', 'b\u0000c']) {
      await speak('h2.test', headers(1, request('h2.test', {}, [['x-bad', bad]])))
      expect(JSON.stringify(arrived())).not.toMatch(/x-bad/)
    }
  })

  test('HTTP/2 without TLS is no request', async () => {
    const {text} = await network.raw({host: '127.0.0.1', port: 3128, send: [preface + settings()]})
    expect(text).toMatch(/^HTTP\/1\.1 400 /)
  })
})

describeHere('floods end the connection, not the sidecar', () => {
  const open = (count: number, each: (stream: number) => string) =>
    Array.from({length: count}, (_, index) => each(2 * index + 1)).join('')

  test.each<[string, () => string]>([
    [
      'streams taken back at once (rapid reset)',
      () => open(3000, (stream) => headers(stream, request('h2.test')) + reset(stream, 8)),
    ],
    [
      'CONTINUATION without end',
      () =>
        headers(1, request('h2.test'), flag.endStream) +
        frame(type.continuation, 0, 1, headerBlock([['a', 'b'.repeat(1000)]])).repeat(2000),
    ],
    ['empty SETTINGS', () => settings().repeat(20_000)],
    [
      'empty DATA',
      () =>
        headers(1, request('h2.test', {':method': 'POST'}), flag.endHeaders) +
        frame(type.data, 0, 1).repeat(20_000),
    ],
    [
      'more streams at once than allowed',
      () => open(2000, (stream) => headers(stream, request('h2.test', {':path': '/hang'}))),
    ],
  ])('%s', async (_name, bytes) => {
    const answer = await speak('h2.test', bytes())
    const end = framesOf(answer.text).some(({kind}) => kind === type.goaway || kind === type.reset)
    expect(answer.closed || answer.error !== undefined || end).toBe(true)
    expect(network.seen().filter(({path}) => path !== undefined).length).toBeLessThanOrEqual(400)
    expect(await curl('https://h2.test/x')).toMatchObject({status: 200})
  })
})

describeHere('a host that misbehaves', () => {
  test.each(['/reset-first', '/gone'])('%s: a failure that can be read', async (path) => {
    expect(await curl(`https://h2.test${path}`)).toMatchObject({
      status: 502,
      body: expect.stringContaining('upstream_unreachable'),
    })
    expect(await curl('https://h2.test/x')).toMatchObject({status: 200})
  })

  test.each(['/reset-middle', '/gone-middle'])('%s: half an answer does not look whole', async (path) => {
    const answer = await curl(`https://h2.test${path}`)
    expect(answer.code).not.toBe(0)
    expect(await curl('https://h2.test/x')).toMatchObject({status: 200})
    expect(
      (await network.audit()).some(
        (record) => record.path === path && record.detail?.includes('ended early'),
      ),
    ).toBe(true)
  })

  test.each(['/refuse-once', '/goaway-first'])('%s: what it never looked at is sent again', async (path) => {
    await network.killSidecar()
    await network.startSidecar()
    expect(await curl(`https://h2.test${path}`)).toMatchObject({status: 200})
  })

  test('an answer before the end of an upload does not hang the agent', async () => {
    const input = Buffer.alloc(20_000_000)
    const {stdout, code} = await network.agent(
      [
        'curl',
        '-sS',
        '-m',
        '20',
        '--http2',
        '--cacert',
        network.caFile,
        '-H',
        'Expect:',
        '--data-binary',
        '@-',
        'https://h2.test/early',
      ],
      {input},
    )
    expect([code, stdout.toString()]).toEqual([0, 'early'])
  })

  test('what an agent leaves is left upstream too, and no connection stays behind', async () => {
    await curl('-m', '0.5', 'https://h2.test/hang')
    await curl('-m', '0.5', 'https://h2.test/ticks')
    await new Promise((resolve) => setTimeout(resolve, 300))
    const ended = network.seen().filter(({stream}) => stream === '/hang' || stream === '/ticks')
    expect(ended).toHaveLength(2)
    expect(ended.every(({code}) => code !== 0)).toBe(true)
  })
})

describeHere('a new grant', () => {
  test('ends a long answer that it would not allow, and nothing else of the connection', async () => {
    const client = network.startAgent([
      'curl',
      '-sSN',
      '--http2',
      '--cacert',
      network.caFile,
      'https://h2.test/ticks',
    ])
    await new Promise((resolve) => client.stdout.once('data', resolve))
    const started = performance.now()
    await network.put(
      {
        ...grant(),
        rules: [
          egressRule({id: 'other', host: 'h2.test', paths: ['/x']}),
          egressRule({id: 'grpc', host: 'grpc.test'}),
        ],
      },
      {key: value},
    )
    expect(await client.exit).not.toBe(0)
    expect(performance.now() - started).toBeLessThan(60_000)
    expect(await curl('https://h2.test/x')).toMatchObject({status: 200})
    expect(await curl('https://h2.test/ticks')).toMatchObject({status: 403})
    await network.put(grant(), {key: value})
  })

  test('everything that happened is in the chain', () => {
    expect(readFileSync(network.path('ledger/audit.jsonl'), 'utf8').includes('"path":"/ticks"')).toBe(true)
    expect(network.sidecarErrors).toBe('')
  })
})
