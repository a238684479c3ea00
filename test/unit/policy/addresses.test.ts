import {describe, expect, test} from '@jest/globals'
import {
  classify,
  compileAddressGuard,
  formatIp,
  mayBeOpened,
  parseCidr,
  parseIp,
  parseOpening,
} from '../../../policy/addresses.js'

describe('classify', () => {
  test.each([
    ['1.1.1.1', 'public'],
    ['2606:4700::1111', 'public'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.255', 'loopback'],
    ['::1', 'loopback'],
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['::', 'unspecified'],
    ['10.0.0.1', 'private'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.1', 'public'],
    ['192.168.1.1', 'private'],
    ['fc00::1', 'private'],
    ['fd12::1', 'private'],
    ['fec0::1', 'private'],
    ['100.64.0.1', 'cgnat'],
    ['100.127.255.255', 'cgnat'],
    ['100.128.0.1', 'public'],
    ['169.254.1.1', 'link-local'],
    ['fe80::1', 'link-local'],
    ['febf::1', 'link-local'],
    ['192.0.2.1', 'documentation'],
    ['198.51.100.1', 'documentation'],
    ['203.0.113.1', 'documentation'],
    ['2001:db8::1', 'documentation'],
    ['3fff::1', 'documentation'],
    ['198.18.0.1', 'benchmark'],
    ['198.19.255.255', 'benchmark'],
    ['2001:2::1', 'benchmark'],
    ['224.0.0.1', 'multicast'],
    ['239.255.255.250', 'multicast'],
    ['ff02::1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['240.0.0.1', 'reserved'],
    ['192.0.0.8', 'reserved'],
    ['100::1', 'reserved'],
    ['2001::1', 'tunnel'],
    ['192.88.99.1', 'tunnel'],
    ['64:ff9b:1::1', 'private'],
  ])('%s is %s', (address, kind) => expect(classify(address)).toBe(kind))

  test.each([
    '169.254.169.254',
    '169.254.170.2',
    '100.100.100.200',
    '168.63.129.16',
    '192.0.0.192',
    'fd00:ec2::254',
    'fd20:ce::254',
    'fd00:c1::a9fe:a9fe',
    'fd00:42::42',
    'fd00:a9fe:a9fe::1',
    'fd00:100::100:200',
    '::ffff:169.254.169.254',
    '64:ff9b::a9fe:a9fe',
    '2002:a9fe:a9fe::',
    '::a9fe:a9fe',
  ])('%s is metadata', (address) => expect(classify(address)).toBe('metadata'))

  test.each([
    ['::ffff:10.0.0.1', 'private'],
    ['::ffff:7f00:1', 'loopback'],
    ['::ffff:0:10.0.0.1', 'private'],
    ['::10.0.0.1', 'private'],
    ['64:ff9b::192.168.0.1', 'private'],
    ['2002:0a00:0001::1', 'private'],
    ['2002:7f00:0001::', 'loopback'],
    ['2606:4700::5efe:10.0.0.1', 'private'],
    ['2606:4700::200:5efe:10.0.0.1', 'private'],
    ['::ffff:1.1.1.1', 'public'],
  ])('%s is judged as the embedded address: %s', (address, kind) => expect(classify(address)).toBe(kind))

  test.each(['', 'x', '1.2.3', '1.2.3.4.5', '::1%lo', '01.2.3.4', '1.2.3.4/32', '[::1]'])(
    '%j is not an address',
    (text) => expect(classify(text)).toBeUndefined(),
  )
})

test('text and bytes agree', () => {
  for (const text of ['1.2.3.4', '::', '::1', '2001:db8::1:0:0:1', '1:2:3:4:5:6:7:8', 'fe80::1', '1:0:0:2::'])
    expect(formatIp(parseIp(text)!)).toBe(text)
  expect(formatIp(parseIp('::ffff:1.2.3.4')!)).toBe('::ffff:102:304')
})

describe('openings', () => {
  test('exact ranges of 16 addresses and fewer', () => {
    for (const text of ['203.0.113.7/32', '203.0.113.0/28', '10.1.2.3/32', 'fd12::1/128', '2001:db8::/124'])
      expect(parseOpening(text).bytes.length).toBeGreaterThan(0)
  })

  test.each([
    '10.0.0.0/',
    '10.0.0.0',
    '10.0.0.0/8',
    '10.0.0.0/27',
    '10.0.0.1/28',
    '10.0.0.0/33',
    '10.0.0.0/032',
    '10.0.0.0/-1',
    'fd12::/32',
    'fd12::/64',
    'fd12::/123',
    'fd12::1/129',
    '127.0.0.1/32',
    '169.254.1.1/32',
    '169.254.169.254/32',
    '100.100.100.192/28',
    '168.63.129.16/32',
    '0.0.0.0/32',
    '224.0.0.1/32',
    '::ffff:127.0.0.1/128',
    '64:ff9b::7f00:1/128',
    'x/32',
    '',
  ])('%j is refused', (text) => expect(() => parseOpening(text)).toThrow('allowAddresses'))

  test('only what is listed becomes reachable', () => {
    const guard = compileAddressGuard(['203.0.113.7/32', '10.1.2.0/30'])
    expect(guard('203.0.113.7')).toEqual({allowed: true, kind: 'documentation'})
    expect(guard('::ffff:203.0.113.7').allowed).toBe(true)
    expect(guard('203.0.113.8').allowed).toBe(false)
    expect(guard('10.1.2.3').allowed).toBe(true)
    expect(guard('10.1.2.4').allowed).toBe(false)
    expect(guard('1.1.1.1').allowed).toBe(true)
    expect(guard('169.254.169.254').allowed).toBe(false)
    expect(guard('localhost')).toEqual({allowed: false, kind: 'not-an-address'})
    expect(compileAddressGuard([])('203.0.113.7').allowed).toBe(false)
  })

  test('an exact opening may be private, never special', () => {
    expect(mayBeOpened('192.168.1.20')).toBe(true)
    for (const address of ['127.0.0.1', '169.254.169.254', '::1', '0.0.0.0', 'fe80::1', 'x'])
      expect(mayBeOpened(address)).toBe(false)
  })
})

test('parseCidr demands a prefix and no host bits', () => {
  expect(parseCidr('10.0.0.0/8')?.prefix).toBe(8)
  for (const text of ['10.0.0.0/', '10.0.0.0', '10.0.0.1/8', '10.0.0.0/08', '::/129'])
    expect(parseCidr(text)).toBeUndefined()
})
