import {describe, expect, test} from '@jest/globals'
import type {CredentialBinding} from '../../../policy/grant.js'
import {newHandle} from '../../../policy/sign.js'
import {substituteBody, substituteHeaders} from '../../../proxy/credentials.js'
import {Denial, denialBody} from '../../../proxy/denial.js'
import {Enforcement} from '../../../proxy/enforcement.js'
import {HeldBytes} from '../../../proxy/held.js'
import {Limits} from '../../../proxy/limits.js'
import {mcpMessages} from '../../../proxy/mcp.js'
import {base64Forms, replacementsFor, Scrubber, scrubText} from '../../../proxy/scrub.js'
import {encodeMessage, MessageReader, opcode} from '../../../proxy/websocket/frames.js'
import {egressGrant, egressRule} from '../../support/grants.js'

const VALUE = 'real-value/of+a-key-0123'
const PLACEHOLDER = 'cage-ph-aabbccddeeff0011'
const endpoint = {scheme: 'https', host: 'api.test', port: 443} as const
const binding = (inject: CredentialBinding['inject']): CredentialBinding => ({
  name: 'key',
  placeholder: PLACEHOLDER,
  host: 'api.test',
  port: 443,
  inject,
})
const header = binding({kind: 'header', header: 'x-key', template: 'Key {}'})

function enforcement(
  credentials: CredentialBinding[],
  values: Record<string, string> = {key: VALUE},
  over = {},
) {
  const grant = egressGrant({
    credentials,
    rules: [egressRule({host: 'api.test'}), egressRule({host: '*.wild.test'})],
    ...over,
  })
  return new Enforcement(grant, newHandle(), new Map(Object.entries(values)))
}

function reasonOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof Denial) return error.reason
    throw error
  }
  return 'let through'
}

describe('substitution', () => {
  test('fills the template and hides the line from the detectors', () => {
    const given = substituteHeaders(
      [
        ['X-Key', `Key ${PLACEHOLDER}`],
        ['a', 'b'],
      ],
      endpoint,
      enforcement([header]),
    )
    expect(given).toEqual({
      headers: [
        ['X-Key', `Key ${VALUE}`],
        ['a', 'b'],
      ],
      judged: [['a', 'b']],
      used: ['key'],
    })
  })

  test.each([
    ['another value', 'Key other', 'credential_foreign'],
    ['the placeholder with more', `Key ${PLACEHOLDER}x`, 'placeholder_unbound'],
    ['no template', PLACEHOLDER, 'placeholder_unbound'],
  ])('refuses %s', (_name, value, reason) => {
    expect(reasonOf(() => substituteHeaders([['x-key', value]], endpoint, enforcement([header])))).toBe(
      reason,
    )
  })

  test('needs a value, TLS and the bound port', () => {
    const headers: [string, string][] = [['x-key', `Key ${PLACEHOLDER}`]]
    expect(reasonOf(() => substituteHeaders(headers, endpoint, enforcement([header], {})))).toBe(
      'credential_missing',
    )
    expect(
      reasonOf(() => substituteHeaders(headers, {...endpoint, scheme: 'http'}, enforcement([header]))),
    ).toBe('credential_plaintext')
    expect(substituteHeaders(headers, {...endpoint, port: 8443}, enforcement([header])).used).toEqual([])
  })

  test('refuses what would have to be signed (CRED-14)', () => {
    const signed = binding({kind: 'sigv4', region: 'r', service: 's3'})
    expect(
      reasonOf(() =>
        substituteHeaders([['authorization', `AWS4 ${PLACEHOLDER}`]], endpoint, enforcement([signed])),
      ),
    ).toBe('credential_unsupported')
  })

  test('a dollar in a value is only a dollar', () => {
    const given = substituteHeaders(
      [['x-key', `Key ${PLACEHOLDER}`]],
      endpoint,
      enforcement([header], {key: "$&$1$'value"}),
    )
    expect(given.headers[0]?.[1]).toBe("Key $&$1$'value")
  })

  test('a body without the placeholder at its pointer stays byte for byte', () => {
    const pointer = enforcement([binding({kind: 'json', pointer: '/a~1b/0'})])
    const body = Buffer.from(`{"a/b": ["${PLACEHOLDER}"], "x": "${PLACEHOLDER}"}`)
    expect(substituteBody(body, endpoint, pointer).body.toString()).toBe(
      `{"a/b": ["${VALUE}"], "x": "${PLACEHOLDER}"}`,
    )
    for (const text of ['not json', '{}', `{"x":"${PLACEHOLDER}"}`, 'null']) {
      expect(substituteBody(Buffer.from(text), endpoint, pointer)).toEqual({
        body: Buffer.from(text),
        used: [],
      })
    }
  })
})

describe('scrubbing', () => {
  const replacements = replacementsFor('api.test', enforcement([header]))!

  test('replaces a value however it is cut', () => {
    const text = Buffer.from(`a ${VALUE} b ${VALUE}`)
    for (let at = 0; at <= text.length; at++) {
      const scrubber = new Scrubber(replacements)
      const out = Buffer.concat([
        scrubber.push(text.subarray(0, at)),
        scrubber.push(text.subarray(at)),
        scrubber.end(),
      ])
      expect(out.toString()).toBe(`a ${PLACEHOLDER} b ${PLACEHOLDER}`)
    }
  })

  test.each([
    encodeURIComponent(VALUE),
    Buffer.from(VALUE).toString('hex'),
    Buffer.from(`x${VALUE}y`).toString('base64'),
  ])('hides %s', (text) => {
    const out = scrubText(text, replacements)
    expect(out).toHaveLength(text.length)
    expect(out).toContain('*'.repeat(20))
  })

  test('holds back nothing that cannot become a value', () => {
    const scrubber = new Scrubber(replacements)
    expect(scrubber.push(Buffer.from('data: event\n\n')).toString()).toBe('data: event\n\n')
  })

  test('is for hosts with a credential only', () => {
    expect(replacementsFor('other.test', enforcement([header]))).toBeUndefined()
  })

  test('knows the value inside any base64', () => {
    const forms = base64Forms(Buffer.from(VALUE))
    for (const before of ['', 'a', 'ab', 'abc']) {
      const encoded = Buffer.from(`${before}${VALUE}tail`).toString('base64')
      expect(forms.some((form) => encoded.includes(form))).toBe(true)
    }
  })
})

describe('limits', () => {
  test('count requests per second, at once and bytes per hour', () => {
    let now = 0
    const limits = new Limits(() => now)
    const rps = [egressRule({id: 'rps', rate: {rps: 2}})]
    limits.admit(rps)
    limits.admit(rps)
    expect(reasonOf(() => limits.admit(rps))).toBe('rate_limited')
    now = 500
    expect(reasonOf(() => limits.admit(rps))).toBe('let through')
    now = -1e9
    expect(reasonOf(() => limits.admit(rps))).toBe('rate_limited')

    const one = [egressRule({id: 'one', rate: {concurrency: 1}})]
    const first = limits.admit(one)
    expect(reasonOf(() => limits.admit(one))).toBe('rate_limited')
    first.end()
    first.end()
    limits.admit(one)
    expect(reasonOf(() => limits.admit(one))).toBe('rate_limited')

    const bytes = [egressRule({id: 'bytes', rate: {bytesUp: 10}})]
    limits.admit(bytes).sent(10)
    expect(reasonOf(() => limits.admit(bytes))).toBe('rate_limited')
    now += 3600_000
    const again = limits.admit(bytes)
    expect(reasonOf(() => again.sent(11))).toBe('rate_limited')
  })

  test('a matching rule without a rate lets through what another would hold', () => {
    const limits = new Limits(() => 0)
    const both = [egressRule({id: 'slow', rate: {rps: 1}}), egressRule({id: 'free'})]
    for (let i = 0; i < 5; i++) expect(reasonOf(() => limits.admit(both))).toBe('let through')
  })

  test('memory is given in order and back again', async () => {
    const held = new HeldBytes(100, 20)
    const first = await held.take(80)
    await expect(held.take(50)).rejects.toMatchObject({reason: 'busy'})
    const order: string[] = []
    const large = held.take(90).then((back) => (order.push('large'), back))
    const small = held.take(10).then((back) => (order.push('small'), back))
    first()
    first()
    const backs = await Promise.all([large, small])
    expect(order).toEqual(['large', 'small'])
    for (const back of backs) back()
    ;(await held.take(1e9))()
  })
})

describe('MCP messages', () => {
  const read = (text: string) => mcpMessages(Buffer.from(text))

  test('are calls with their tool, one by one', () => {
    expect(
      read(
        '[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}},{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","id":2,"result":{}}]',
      ),
    ).toEqual([{method: 'tools/call', tool: 'a'}, {method: 'ping'}])
  })

  test.each([
    '{"jsonrpc":"2.0","method":"ping","method":"tools/call"}',
    '{"jsonrpc":"2.0","method":"ping","\\u006dethod":"tools/call"}',
    '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a","name":"b"}}',
    '{"jsonrpc":"2.0","method":"tools/call"}',
    '{"jsonrpc":"1.0","method":"ping"}',
    '{"jsonrpc":"2.0"}',
    '"text"',
    '',
    '[[]]',
  ])('%s is refused', (text) => {
    expect(reasonOf(() => read(text))).toBe('mcp_unreadable')
  })

  test('are UTF-8', () => {
    expect(reasonOf(() => mcpMessages(Buffer.from([0x22, 0xff, 0x22])))).toBe('mcp_unreadable')
  })

  test('may repeat a key in different objects, and hold one in a text', () => {
    expect(
      read('{"jsonrpc":"2.0","method":"ping","params":{"a":{"x":1},"b":{"x":"{\\"x\\":1,\\"x\\":2}"}}}'),
    ).toEqual([{method: 'ping'}])
  })
})

describe('WebSocket messages', () => {
  test('survive framing, in pieces and in fragments', () => {
    for (const length of [0, 125, 126, 65535, 65536]) {
      const payload = Buffer.alloc(length, 'x')
      const bytes = encodeMessage({opcode: opcode.binary, payload}, true)
      const reader = new MessageReader(true)
      const found = [...reader.push(bytes.subarray(0, 3)), ...reader.push(bytes.subarray(3))]
      expect(found).toEqual([{opcode: opcode.binary, payload}])
    }
    const fragments = Buffer.concat([
      Buffer.from([0x01, 2]),
      Buffer.from('he'),
      Buffer.from([0x89, 0]),
      Buffer.from([0x80, 3]),
      Buffer.from('llo'),
    ])
    expect(new MessageReader(false).push(fragments).map(({payload}) => payload.toString())).toEqual([
      '',
      'hello',
    ])
  })

  test.each([
    ['unmasked by a client', [0x81, 0x00], 'websocket_protocol'],
    ['compressed', [0xc1, 0x80, 0, 0, 0, 0], 'websocket_protocol'],
    ['of an unknown kind', [0x83, 0x80, 0, 0, 0, 0], 'websocket_protocol'],
    ['a long ping', [0x89, 0xfe, 0, 200, 0, 0, 0, 0], 'websocket_protocol'],
    ['a continuation of nothing', [0x80, 0x80, 0, 0, 0, 0], 'websocket_protocol'],
    ['over 4 MB', [0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], 'body_over_limit'],
  ])('%s are refused', (_name, bytes, reason) => {
    expect(reasonOf(() => new MessageReader(true).push(Buffer.from(bytes)))).toBe(reason)
  })
})

describe('the compiled grant', () => {
  test('knows names, and which part a wildcard stood for', () => {
    const compiled = enforcement([])
    expect(compiled.knowsName('git.cage.internal')).toEqual({})
    expect(compiled.knowsName('api.test')).toEqual({})
    expect(compiled.knowsName('a.b.wild.test')).toEqual({wildcard: 'a.b'})
    expect(compiled.knowsName('wild.test')).toBeUndefined()
    expect(compiled.knowsName('evil.test')).toBeUndefined()
  })

  test.each(['127.0.0.1', '169.254.169.254', '224.0.0.1', 'name.test'])(
    'does not take %s for an address to dial',
    (address) => {
      expect(() => enforcement([], {}, {hosts: [{host: 'a.test', address, port: 443}]})).toThrow(
        'no address that can be opened',
      )
    },
  )

  test('refuses a value that could not be told from text', () => {
    expect(() => enforcement([header], {key: 'short'})).toThrow('cannot be protected')
  })
})

test('a denial tells agents and git the same', () => {
  const denial = new Denial('host_not_allowed', {rule: 'r', detail: 'not for the agent'})
  const json = denialBody(denial, {requestId: 'id', host: 'a.test'}, false)
  expect(JSON.parse(json.body.toString())).toEqual({
    error: 'cage_denied',
    reason: 'host_not_allowed',
    rule: 'r',
    request_id: 'id',
    hint: expect.any(String),
    host: 'a.test',
  })
  const text = denialBody(denial, {requestId: 'id'}, true)
  expect([text.type, text.body.toString()]).toEqual([
    'text/plain; charset=utf-8',
    expect.stringMatching(/^cage: denied: host_not_allowed\. .*\(request id\)\n$/),
  ])
  expect(json.body.toString() + text.body.toString()).not.toContain('not for the agent')
})
