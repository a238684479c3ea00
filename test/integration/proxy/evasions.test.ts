import {brotliCompressSync, deflateRawSync, deflateSync, gzipSync} from 'node:zlib'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import type {CredentialBinding} from '../../../policy/grant.js'
import {egressRule} from '../../support/grants.js'
import {world} from './addresses.js'
import {answerOf, flag, headers, preface, request, settings} from './http2-frames.js'
import {missing, TestNetwork} from './network.js'

const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const PLACEHOLDER = 'cage-model-7f3a9c51e8d24b60a1c2d3e4f5061728'
const REAL = 'sk-Real-0123456789abcDEFghij'
const credentials: CredentialBinding[] = [
  {
    name: 'model',
    placeholder: PLACEHOLDER,
    host: 'model.test',
    port: 443,
    inject: {kind: 'header', header: 'Authorization', template: 'Bearer {}'},
  },
]
const rules = [
  egressRule({id: 'all', host: 'allowed.test'}),
  egressRule({id: 'model', host: 'model.test'}),
  egressRule({id: 'h2', host: 'h2.test'}),
  egressRule({id: 'wild', host: '*.wild.test'}),
  egressRule({id: 'no-delete', effect: 'deny', host: 'h2.test', methods: ['DELETE']}),
  egressRule({id: 'ws', host: 'ws.test', methods: ['POST'], websocket: true}),
  egressRule({id: 'search', host: 'mcp.test', paths: ['/mcp'], mcp: {tools: ['search']}, rate: {rps: 1}}),
  egressRule({id: 'read', host: 'mcp.test', paths: ['/mcp'], mcp: {tools: ['read']}}),
  egressRule({id: 'beside', host: 'mcp.test', paths: ['/v1/**']}),
]

let network: TestNetwork
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({rules, credentials}, {model: REAL})
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())

const arrived = () => network.seen().filter(({place}) => !place.includes('resolver'))
const over2 = (...frames: string[]) =>
  network.raw({
    host: world.canary,
    port: 443,
    tls: {servername: 'h2.test', alpn: ['h2']},
    send: [preface + settings() + frames.join('')],
  })

describeHere('methods', () => {
  test.each(['delete', 'Delete', 'post', 'G!T'])(
    '%s is none, over HTTP/2 as over HTTP/1.1',
    async (method) => {
      expect(answerOf((await over2(headers(1, request('h2.test')))).text, 1).body).toContain('"raw"')
      expect(arrived().length).toBeGreaterThan(0)
      const {text} = await over2(
        headers(1, request('h2.test', {':method': method}), flag.endHeaders | flag.endStream),
      )
      expect(answerOf(text, 1).body).toContain('http_malformed')
      expect(arrived().filter(({url, raw}) => url !== undefined || raw !== undefined)).toEqual([])
    },
  )

  test('a WebSocket begins with GET, whatever was judged', async () => {
    const ask = (method: string) =>
      network.raw({
        host: world.canary,
        port: 443,
        tls: {servername: 'ws.test'},
        send: [
          `${method} /ws HTTP/1.1\r\nHost: ws.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n`,
        ],
      })
    expect((await ask('POST')).text).toMatch(/^HTTP\/1\.1 400 .*upgrade_incomplete/s)
    expect((await ask('GET')).text).toMatch(/method_not_allowed/)
    expect(arrived()).toEqual([])
  })
})

describeHere('headers that say it again', () => {
  test.each([
    'X-Original-URL',
    'X-Rewrite-URL',
    'X_HTTP_Method_Override',
    'X-HTTP_Method',
    'X-Forwarded-Host',
    'X-Original-Host',
    'Forwarded',
  ])('%s stays behind', async (name) => {
    expect((await network.curl('-H', `${name}: /evil`, 'https://allowed.test/x')).status).toBe(200)
    const events = arrived()
    expect(events).toHaveLength(1)
    expect(JSON.stringify(events)).not.toContain('/evil')
  })
})

describeHere('MCP', () => {
  const call = (name: string) => ({jsonrpc: '2.0', id: 1, method: 'tools/call', params: {name}})
  const post = (path: string, body: unknown) =>
    network.curl(
      '-H',
      'Content-Type: application/json',
      '-d',
      JSON.stringify(body),
      `https://mcp.test${path}`,
    )

  test('every call of a batch counts for its own rule', async () => {
    const answer = await post('/mcp', [call('search'), call('search'), call('search'), call('read')])
    expect(answer).toMatchObject({status: 429, reason: 'rate_limited'})
    expect(arrived()).toEqual([])
    expect((await post('/mcp', [call('read'), call('read')])).status).toBe(200)
    expect(arrived()).toHaveLength(1)
  })

  test.each([
    {...call('delete'), method: 'ping', Method: 'tools/call'},
    {jsonrpc: '2.0', id: 1, result: {}, METHOD: 'tools/call', params: {name: 'delete'}},
    {...call('read'), ['param\u017f']: {name: 'delete'}},
    {...call('read'), params: {name: 'read', Name: 'delete'}},
  ])('%j is no call that all parsers read alike', async (message) => {
    expect((await post('/mcp', message)).reason).toBe('mcp_unreadable')
    expect(arrived()).toEqual([])
    expect((await post('/mcp', call('read'))).status).toBe(200)
  })

  test('what goes to other paths of the host is no MCP', async () => {
    expect((await post('/v1/x', {any: 'thing'})).status).toBe(200)
    expect((await post('/mcp', {any: 'thing'})).reason).toBe('mcp_unreadable')
    expect(arrived()).toHaveLength(1)
  })
})

describeHere('credentials of the caller', () => {
  test.each([
    'X-Api-Key',
    'X_API_KEY',
    'Api-Token',
    'X-Token',
    'X-Figma-Token',
    'DD-API-KEY',
    'Circle-Token',
    'X-Auth-Email',
    'X-Shopify-Access-Token',
    'X-Session-Token',
    'Access-Token',
    'X-Secret-Key',
    'X-Access-Key',
    'X-Amz-Security-Token',
    'X-Client-Secret',
    'Password',
    'X-JWT-Assertion',
    'Cookie2',
    'X-Subscription-Key',
    'Ocp-Apim-Subscription-Key',
  ])('%s is dropped on a host with a credential', async (name) => {
    const sent = [
      '-H',
      `Authorization: Bearer ${PLACEHOLDER}`,
      '-H',
      `${name}: stolen-1`,
      '-H',
      'X-Plain: plain-1',
    ]
    expect((await network.curl(...sent, 'https://model.test/x')).status).toBe(200)
    const text = JSON.stringify(arrived())
    expect(text).toContain('plain-1')
    expect(text).not.toContain('stolen-1')
  })

  test.each(['X-Api-Key', 'Cookie', 'X-Other'])('the placeholder in %s is refused', async (name) => {
    const answer = await network.curl('-H', `${name}: ${PLACEHOLDER}`, 'https://model.test/x')
    expect(answer).toMatchObject({status: 403, reason: 'placeholder_unbound'})
    expect(arrived()).toEqual([])
  })

  test.each(['X-CSRF-Token', 'X-Atlassian-Token', 'Idempotency-Key', 'X-Authored-By'])(
    '%s is none',
    async (name) => {
      expect((await network.curl('-H', `${name}: kept-1`, 'https://model.test/x')).status).toBe(200)
      expect(JSON.stringify(arrived())).toContain('kept-1')
    },
  )
})

describeHere('what loses its case or its place on the way', () => {
  const folded = () => network.handle.toUpperCase()
  const labels = (text: string) => `${text.slice(0, 20)}.${text.slice(20)}`
  test.each<[string, () => string]>([
    ['a value', () => REAL],
    ['a value over two labels', () => labels(REAL)],
    ['a value in hex', () => Buffer.from(REAL).toString('hex')],
    ['a placeholder', () => PLACEHOLDER],
  ])('%s in the name of a host is never resolved', async (_name, chosen) => {
    expect((await network.curl('https://a.wild.test/x')).status).toBe(200)
    expect(network.seen().length).toBeGreaterThan(0)
    const answer = await network.curl(`https://${chosen()}.wild.test/x`)
    expect(answer.reason).toMatch(/secret_found|placeholder_unbound/)
    expect(network.seen()).toEqual([])
    const record = (await network.audit()).at(-1)
    expect(record).toMatchObject({decision: 'deny', reason: answer.reason, detail: 'host'})
    expect(record?.host).toBeUndefined()
  })

  test('a value in the name of a header is found in small letters too', async () => {
    for (const name of [`x-${REAL}`, `x-${folded()}`]) {
      expect((await network.curl('-H', `${name}: 1`, 'https://h2.test/x')).reason).toBe('secret_found')
      expect((await network.curl('--http1.1', '-H', `${name}: 1`, 'https://allowed.test/x')).reason).toBe(
        'secret_found',
      )
    }
    expect((await network.curl('-H', 'x-other: 1', 'https://h2.test/x')).status).toBe(200)
    expect(arrived().filter(({raw}) => raw !== undefined)).toHaveLength(1)
  })

  test('a body behind another transfer coding is not forwarded without it', async () => {
    const post = (coding: string) =>
      network.raw({
        host: world.canary,
        port: 443,
        tls: {servername: 'allowed.test'},
        send: [
          `POST /x HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\nTransfer-Encoding: ${coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
        ],
      })
    expect((await post('gzip, chunked')).text).toMatch(/^HTTP\/1\.1 400/)
    expect(arrived()).toEqual([])
    expect((await post('Chunked')).text).toMatch(/^HTTP\/1\.1 200/)
  })
})

describeHere('DNS over HTTPS', () => {
  const query = Buffer.from('00000100000100000000000003777777076578616d706c6503636f6d0000010001', 'hex')
  test.each<[string, string[]]>([
    ['by its path', ['https://allowed.test/dns-query?dns=AAAA']],
    ['below its path', ['https://allowed.test/dns-query/abc?dns=AAAA']],
    ['by a message in the address', [`https://allowed.test/a1b2?dns=${query.toString('base64url')}`]],
    [
      'by its type',
      ['-H', 'Content-Type: application/dns-message', '--data-binary', 'x', 'https://allowed.test/q'],
    ],
    [
      'by what it wants',
      ['-H', 'Accept: application/dns-json', 'https://allowed.test/resolve?name=a.example'],
    ],
    ['by what it wants', ['-H', 'Accept: application/dns-message', 'https://allowed.test/p?dns=x']],
  ])('%s', async (_name, argv) => {
    expect(await network.curl(...argv)).toMatchObject({status: 403, reason: 'dns_over_https'})
    expect(arrived()).toEqual([])
    expect((await network.curl('https://allowed.test/q?dns=1.1.1.1')).status).toBe(200)
  })
})

describeHere('a value of cage in a body', () => {
  const forms: [string, (secret: string) => Buffer | string, string[]?][] = [
    ['gzip, unsaid', (secret) => gzipSync(secret)],
    ['zlib, unsaid', (secret) => deflateSync(secret)],
    ['gzip in base64', (secret) => gzipSync(secret).toString('base64')],
    ['gzip in base64url', (secret) => gzipSync(secret).toString('base64url')],
    [
      'gzip in multipart',
      (secret) =>
        Buffer.concat([
          Buffer.from('--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n'),
          gzipSync(`${'line\n'.repeat(300)}${secret}`),
          Buffer.from('\r\n--b--\r\n'),
        ]),
    ],
    [
      'base64 in gzip',
      (secret) => gzipSync(Buffer.from(secret).toString('base64')),
      ['Content-Encoding: gzip'],
    ],
    [
      'gzip of two members',
      (secret) => Buffer.concat([gzipSync('clean'), gzipSync(secret)]),
      ['Content-Encoding: gzip'],
    ],
    [
      'gzip of two members, zeros between',
      (secret) => Buffer.concat([gzipSync('clean'), Buffer.alloc(3), gzipSync(secret)]),
      ['Content-Encoding: gzip'],
    ],
    [
      'zlib behind zlib',
      (secret) => Buffer.concat([deflateSync('clean'), deflateSync(secret)]),
      ['Content-Encoding: deflate'],
    ],
    [
      'br behind br',
      (secret) => Buffer.concat([brotliCompressSync('clean'), brotliCompressSync(secret)]),
      ['Content-Encoding: br'],
    ],
    ['raw deflate', (secret) => deflateRawSync(secret), ['Content-Encoding: deflate']],
    ['GZIP', (secret) => gzipSync(secret), ['Content-Encoding: GZIP']],
    ['gzip, identity', (secret) => gzipSync(secret), ['Content-Encoding: gzip, identity']],
    ['gzip, gzip', (secret) => gzipSync(gzipSync(secret)), ['Content-Encoding: gzip, gzip']],
    ['gzip that is none', (secret) => secret, ['Content-Encoding: gzip']],
    ['compress', (secret) => secret, ['Content-Encoding: compress']],
    [
      'base64 with line breaks',
      (secret) =>
        Buffer.from(`abc${secret}`)
          .toString('base64')
          .replace(/(.{20})/g, '$1\r\n'),
    ],
    [
      'base64 in base64',
      (secret) => Buffer.from(Buffer.from(`a${secret}`).toString('base64')).toString('base64'),
    ],
    ['hex in base64', (secret) => Buffer.from(Buffer.from(secret).toString('hex')).toString('base64')],
    ['base64 in hex', (secret) => Buffer.from(Buffer.from(`ab${secret}`).toString('base64')).toString('hex')],
    [
      'percent of percent',
      (secret) => Array.from(secret, (c) => `%25${c.charCodeAt(0).toString(16)}`).join(''),
    ],
    [
      'JSON escapes',
      (secret) => `{"a":"${Array.from(secret, (c) => `\\u00${c.charCodeAt(0).toString(16)}`).join('')}"}`,
    ],
    ['UTF-16', (secret) => Buffer.from(secret, 'utf16le')],
    ['reversed', (secret) => Array.from(secret).reverse().join('')],
    ['hex with colons', (secret) => Buffer.from(secret).toString('hex').replace(/(..)/g, '$1:')],
    ['hex with spaces', (secret) => Buffer.from(secret).toString('hex').replace(/(..)/g, '$1 ')],
    ['HTML entities', (secret) => Array.from(secret, (c) => `&#${c.charCodeAt(0)};`).join('')],
    [
      'quoted-printable',
      (secret) => Array.from(secret, (c) => `=${c.charCodeAt(0).toString(16).toUpperCase()}`).join(''),
    ],
  ]
  test.each(forms)('%s', async (_name, write, said = []) => {
    const body = write(`it is ${network.handle} there`)
    const {stdout} = await network.agent(
      [
        'curl',
        '-s',
        '--cacert',
        network.caFile,
        '--data-binary',
        '@-',
        ...said.flatMap((line) => ['-H', line]),
        'https://allowed.test/x',
      ],
      {input: body},
    )
    expect(stdout.toString()).toMatch(/secret_found|body_encoding/)
    expect(arrived()).toEqual([])
  })
})
