import {describe, expect, test} from '@jest/globals'
import {Denial} from '../../../proxy/denial.js'
import {endToEnd, requestFacts} from '../../../proxy/facts.js'
import {connectTarget, type ConnectionTarget} from '../../../proxy/target.js'

const named: ConnectionTarget = {via: 'name', scheme: 'https', host: 'a.test', port: 443, sni: 'a.test'}

function facts(
  over: {method?: string; url?: string; headers?: string[]} = {},
  connection: ConnectionTarget = named,
) {
  const {method = 'GET', url = '/', headers = ['Host', 'a.test']} = over
  return requestFacts({method, url, rawHeaders: headers}, connection, 'id')
}

function refusal(act: () => unknown): {reason: string; status: number} {
  try {
    act()
  } catch (error) {
    if (error instanceof Denial) return {reason: error.reason, status: error.status}
    throw error
  }
  throw new Error('was not refused')
}

describe('what connection and request agree on', () => {
  test.each<[string, Partial<ConnectionTarget>, string]>([
    ['Host of another name', {}, 'b.test'],
    ['a sub-domain', {}, 'x.a.test'],
    ['a longer name', {}, 'a.test.evil.test'],
    ['another TLS name', {sni: 'b.test'}, 'a.test'],
    ['another CONNECT name', {host: 'b.test'}, 'a.test'],
    ['another port in Host', {}, 'a.test:8443'],
    ['another port in CONNECT', {port: 8443}, 'a.test'],
    ['an address in Host', {}, '45.33.32.1'],
  ])('%s is 421', (_name, connection, host) => {
    expect(refusal(() => facts({headers: ['Host', host]}, {...named, ...connection}))).toEqual({
      reason: 'target_mismatch',
      status: 421,
    })
  })

  test('case and a trailing dot are one name', () => {
    expect(facts({headers: ['host', 'A.TEST.']}).host).toBe('a.test')
    expect(facts({headers: ['host', 'a.test:443']}).port).toBe(443)
  })

  test.each([
    ['user information', 'user@a.test'],
    ['a NUL', 'a.test\u0000.evil.test'],
    ['a space', 'a.test evil'],
    ['two ports', 'evil.test:443.a.test'],
    ['nothing', ''],
  ])('%s in Host is 400', (_name, host) => {
    expect(refusal(() => facts({headers: ['Host', host]})).status).toBe(400)
  })

  test('no Host and two of them are 400', () => {
    expect(refusal(() => facts({headers: []}))).toEqual({reason: 'host_missing', status: 400})
    expect(refusal(() => facts({headers: ['Host', 'a.test', 'host', 'a.test']}))).toEqual({
      reason: 'header_repeated',
      status: 400,
    })
  })

  test('plain HTTP to a literal address is judged by the address', () => {
    const address: ConnectionTarget = {via: 'address', scheme: 'http', port: 80}
    expect(refusal(() => facts({headers: ['Host', 'a.test']}, address)).reason).toBe('address_literal')
    expect(refusal(() => facts({headers: ['Host', '45.33.32.1']}, address)).reason).toBe('address_literal')
    expect(refusal(() => facts({headers: ['Host', '[::ffff:127.0.0.1]']}, address)).reason).toBe(
      'address_literal',
    )
  })
})

describe('the proxy port', () => {
  const proxy: ConnectionTarget = {via: 'absolute', scheme: 'http', port: 0}

  test('judges the URL of the request', () => {
    const url = 'http://a.test:8080/x?y=1'
    expect(facts({url, headers: ['Host', 'a.test:8080']}, proxy)).toMatchObject({
      scheme: 'http',
      host: 'a.test',
      port: 8080,
      path: '/x',
      query: 'y=1',
    })
    expect(facts({url: 'http://a.test', headers: ['Host', 'a.test']}, proxy).path).toBe('/')
    expect(facts({url: 'https://a.test/x', headers: ['Host', 'a.test']}, proxy)).toMatchObject({
      scheme: 'https',
      port: 443,
    })
  })

  test.each([
    ['http://a.test/', 'b.test', 'target_mismatch'],
    ['http://b.test/', 'a.test', 'target_mismatch'],
    ['http://169.254.169.254/', '169.254.169.254', 'address_literal'],
    ['http://2130706433/', '2130706433', 'address_literal'],
    ['http://u:p@a.test/', 'a.test', 'host_userinfo'],
    ['/origin-form', 'a.test', 'not_a_proxy_request'],
    ['ftp://a.test/', 'a.test', 'not_a_proxy_request'],
    ['http:///x', 'a.test', 'host_empty'],
  ])('%s with Host %s is refused', (url, host, reason) => {
    expect(refusal(() => facts({url, headers: ['Host', host]}, proxy)).reason).toBe(reason)
  })

  test('CONNECT names a host and a port', () => {
    expect(connectTarget('A.test.:443', undefined)).toEqual({
      via: 'connect',
      scheme: 'https',
      host: 'a.test',
      port: 443,
    })
    for (const [authority, header, reason] of [
      ['a.test', undefined, 'authority_syntax'],
      ['a.test:', undefined, 'authority_syntax'],
      ['a.test:0', undefined, 'authority_syntax'],
      ['a.test:65536', undefined, 'authority_syntax'],
      ['a.test:443', 'b.test:443', 'target_mismatch'],
      ['a.test:443', 'a.test:80', 'target_mismatch'],
      ['10.0.0.1:443', undefined, 'address_literal'],
      ['0x7f.1:443', undefined, 'address_literal'],
      ['[::1]:443', undefined, 'address_literal'],
      ['[::1%eth0]:443', undefined, 'host_zone_id'],
      ['evil\u0000.a.test:443', undefined, 'host_control_character'],
      ['evil.test:443.a.test:443', undefined, 'authority_syntax'],
      ['u@a.test:443', undefined, 'host_userinfo'],
    ] as const) {
      expect([authority, refusal(() => connectTarget(authority, header)).reason]).toEqual([authority, reason])
    }
  })
})

describe('the request itself', () => {
  test('keeps end-to-end headers in order and drops the rest', () => {
    const headers = [
      'Host',
      'a.test',
      'X-One',
      '1',
      'Connection',
      'close',
      'TE',
      'trailers',
      'X-HTTP-Method-Override',
      'DELETE',
      'X-Cage-Handle',
      'cgt_x',
      'Proxy-Authorization',
      'x',
      'x-one',
      '2',
      'Content-Length',
      '3',
    ]
    expect(facts({headers}).headers).toEqual([
      ['X-One', '1'],
      ['x-one', '2'],
    ])
  })

  test('is refused when Connection names a header that means something', () => {
    for (const value of ['Authorization', 'close, authorization', 'x-api-key']) {
      expect(refusal(() => facts({headers: ['Host', 'a.test', 'Connection', value]})).reason).toBe(
        'connection_header',
      )
    }
    expect(facts({headers: ['Host', 'a.test', 'Connection', 'Upgrade, HTTP2-Settings']}).headers).toEqual([])
  })

  test.each([
    ['/a/../../b', 'path_above_root'],
    ['/a%2fb', 'path_encoded_slash'],
    ['/a%00b', 'path_escape'],
    ['/a\\b', 'path_backslash'],
    ['http://b.test/', 'path_not_absolute'],
    ['*', 'path_not_absolute'],
    ['/a#b', 'path_character'],
  ])('%s is refused', (url, reason) => {
    expect(refusal(() => facts({url})).reason).toBe(reason)
  })

  test('is forwarded in the form it was judged in', () => {
    expect(facts({url: '//x/./y/%7Euser;p=1?q=%2f'})).toMatchObject({path: '/x/y/~user', query: 'q=%2f'})
  })

  test('may be 8 KB long in its first line', () => {
    expect(facts({url: `/${'a'.repeat(8191)}`}).path).toHaveLength(8192)
    expect(refusal(() => facts({url: `/${'a'.repeat(8192)}`})).status).toBe(414)
  })

  test.each(['TRACE', 'TRACK', 'CONNECT'])('%s is refused', (method) => {
    expect(refusal(() => facts({method})).status).toBe(405)
  })

  test('says what its body is', () => {
    const headers = [
      'Host',
      'a.test',
      'Content-Type',
      'Application/JSON; charset=utf-8',
      'Content-Encoding',
      'GZip',
      'Content-Length',
      '12',
    ]
    expect(facts({headers})).toMatchObject({
      contentType: 'application/json',
      contentEncoding: ['gzip'],
      contentLength: 12,
      hasBody: true,
    })
    expect(facts({headers: ['Host', 'a.test', 'Transfer-Encoding', 'chunked']})).toMatchObject({
      hasBody: true,
      contentLength: undefined,
    })
    expect(facts({headers: ['Host', 'a.test', 'Content-Length', '0']}).hasBody).toBe(false)
  })
})

test('a response keeps nothing of its hop and no way around', () => {
  expect(
    endToEnd([
      ['Alt-Svc', 'h3=":443"'],
      ['Connection', 'close'],
      ['Transfer-Encoding', 'chunked'],
      ['Set-Cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ]),
  ).toEqual([
    ['Set-Cookie', 'a=1'],
    ['set-cookie', 'b=2'],
  ])
})
