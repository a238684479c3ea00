import {describe, expect, test} from '@jest/globals'
import {canonicalAuthority, canonicalHost, canonicalPath, canonicalTarget} from '../../../policy/canonical.js'

describe('canonicalHost', () => {
  test.each([
    ['API.Example.COM', 'name', 'api.example.com'],
    ['api.example.com.', 'name', 'api.example.com'],
    ['bücher.example', 'name', 'xn--bcher-kva.example'],
    ['xn--bcher-kva.example', 'name', 'xn--bcher-kva.example'],
    ['_acme.example.com', 'name', '_acme.example.com'],
    ['1.2.3.4', 'ipv4', '1.2.3.4'],
    ['127.1', 'ipv4', '127.0.0.1'],
    ['0x7f.1', 'ipv4', '127.0.0.1'],
    ['0177.0.0.1', 'ipv4', '127.0.0.1'],
    ['2130706433', 'ipv4', '127.0.0.1'],
    ['0x7f000001', 'ipv4', '127.0.0.1'],
    ['017700000001', 'ipv4', '127.0.0.1'],
    ['127.0.0.1.', 'ipv4', '127.0.0.1'],
    ['1.2.772', 'ipv4', '1.2.3.4'],
    ['１２７.0.0.1', 'ipv4', '127.0.0.1'],
    ['[::1]', 'ipv6', '::1'],
    ['[0:0:0:0:0:0:0:1]', 'ipv6', '::1'],
    ['[2001:DB8::0:1]', 'ipv6', '2001:db8::1'],
    ['[::ffff:127.0.0.1]', 'ipv6', '::ffff:7f00:1'],
    ['::ffff:7f00:1', 'ipv6', '::ffff:7f00:1'],
  ])('%s is %s %s', (raw, kind, host) => {
    expect(canonicalHost(raw)).toEqual({kind, host})
  })

  test.each([
    ['', 'host_empty'],
    ['.', 'host_syntax'],
    ['a..b', 'host_syntax'],
    ['a.b..', 'host_syntax'],
    ['evil.com\0.example.com', 'host_control_character'],
    ['a b.example.com', 'host_control_character'],
    ['example.com\r\n', 'host_control_character'],
    ['user@example.com', 'host_syntax'],
    ['evil.com:443.example.com', 'host_with_port'],
    ['evil.com%00.example.com', 'host_syntax'],
    ['evil.com/.example.com', 'host_syntax'],
    ['evil.com\\.example.com', 'host_syntax'],
    ['evil.com?.example.com', 'host_syntax'],
    ['evil.com#.example.com', 'host_syntax'],
    ['*.example.com', 'host_syntax'],
    ['-a.example.com', 'host_syntax'],
    [`${'a'.repeat(64)}.com`, 'host_syntax'],
    [`${'a.'.repeat(130)}com`, 'host_syntax'],
    ['exam\u00adple.com', 'host_invisible_character'],
    ['exam\u200bple.com', 'host_invisible_character'],
    ['xn--\u0430.com', 'host_syntax'],
    ['xn--a.com', 'host_punycode'],
    ['1.2.3.4.5', 'host_numeric'],
    ['256.1.1.1', 'host_numeric'],
    ['1.2.3.09', 'host_numeric'],
    ['4294967296', 'host_numeric'],
    ['foo.0x', 'host_numeric'],
    ['foo.1', 'host_numeric'],
    ['::ffff:1.2.3.4%x.example.com', 'host_zone_id'],
    ['[fe80::1%eth0]', 'host_zone_id'],
    ['[::1', 'host_syntax'],
    ['[1.2.3.4]', 'host_syntax'],
    [':::', 'host_with_port'],
  ])('%j is refused: %s', (raw, refused) => {
    expect(canonicalHost(raw)).toEqual({refused})
  })

  test('a homograph has another canonical form', () => {
    expect(canonicalHost('аpi.example.com')).toEqual({kind: 'name', host: 'xn--pi-6kc.example.com'})
  })
})

describe('canonicalAuthority', () => {
  test.each([
    ['example.com', 443],
    ['example.com:8443', 8443],
    ['[2001:db8::1]:8443', 8443],
    ['Example.com.:1', 1],
  ])('%s has port %d', (raw, port) => {
    expect(canonicalAuthority(raw, 443)).toMatchObject({port})
  })

  test.each([
    'a:0',
    'a:00443',
    'a:65536',
    'a:',
    ':443',
    'a:1:2',
    'u@a:1',
    'u:p@a',
    '[::1]x:1',
    'a:+1',
    'a: 1',
    '::1:443',
    'a:443/',
  ])('%j is refused', (raw) => expect(canonicalAuthority(raw, 443)).toHaveProperty('refused'))
})

describe('canonicalPath', () => {
  test.each([
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/a//b', '/a/b'],
    ['//evil/a', '/evil/a'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/a/b/..', '/a/'],
    ['/a/b/', '/a/b/'],
    ['/%61/%7e', '/a/~'],
    ['/a/%2e%2e/b', '/b'],
    ['/a/.%2E/b', '/b'],
    ['/a;x=1/b;y', '/a/b'],
    ['/a/..;/b', '/b'],
    ['/%e2%82%ac', '/%E2%82%AC'],
    ['/a%3ab', '/a%3Ab'],
    ['/a%20b', '/a%20b'],
    ['/%25', '/%25'],
    ['/@types%2fnode', '/@types/node'],
    ['/@types%2Fnode/-/node-1.0.0.tgz', '/@types/node/-/node-1.0.0.tgz'],
  ])('%s becomes %s, and stays so', (raw, path) => {
    expect(canonicalPath(raw)).toBe(path)
    expect(canonicalPath(path)).toBe(path)
  })

  test.each([
    '',
    'a',
    '*',
    'http://a/',
    '/..',
    '/a/../..',
    '/%2e%2e/',
    '/a%2fb',
    '/a/%2e%2e%2fadmin',
    '/a/..%2fadmin',
    '/@a%2f..%2fb',
    '/@a%2f../b',
    '/%00',
    '/%5c',
    '/a\\b',
    '/a#b',
    '/a b',
    '/a\tb',
    '/%0a',
    '/%7f',
    '/%zz',
    '/%2',
    '/é',
    '/%c0%ae%c0%ae/',
    '/%252e%252e/',
    '/%252f',
    '/%2500',
  ])('%j is refused', (raw) => expect(canonicalPath(raw)).toHaveProperty('refused'))
})

describe('canonicalTarget', () => {
  test('a query never takes part in the path', () => {
    expect(canonicalTarget('/a/../b?x=/allowed/..')).toEqual({path: '/b', query: 'x=/allowed/..'})
    expect(canonicalTarget('/a?b?c')).toEqual({path: '/a', query: 'b?c'})
  })
  test.each(['/a?b#c', '/a?b c', '/a?b\\c', '/a?\0'])('%j is refused', (raw) =>
    expect(canonicalTarget(raw)).toHaveProperty('refused'),
  )
})
