import {mkdtempSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {X509Certificate} from 'node:crypto'
import {connect, createServer, type Server} from 'node:tls'
import type {AddressInfo} from 'node:net'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {openAuthority} from '../../../proxy/certificates/authority.js'
import {certificatesOf, time, unsigned} from '../../../core/certificates/der.js'
import {Leaves} from '../../../proxy/certificates/leaves.js'
import {publishTrust, readSystemRoots, systemRootsPath} from '../../../proxy/certificates/publish.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cage-certificates-'))
})
afterEach(() => rmSync(directory, {recursive: true}))

const command = async (...argv: [string, ...string[]]) => {
  const result = await processRunner.run({argv})
  return {code: result.code, text: result.stdout.toString() + result.stderr}
}

describe('the authority of a pod', () => {
  test('is the same after a restart, and its key is readable by its owner only', () => {
    const first = openAuthority(directory, Date.now())
    const second = openAuthority(directory, Date.now() + 1000)
    expect(second.certificate).toBe(first.certificate)
    expect(statSync(join(directory, 'authority.pem')).mode & 0o777).toBe(0o600)
  })

  test.each([
    ['an empty file', () => ''],
    [
      'the key of another authority',
      (text: string) => text.replace(/[\s\S]*(?=-----BEGIN CERT)/, otherKey()),
    ],
    ['a cut file', (text: string) => text.slice(0, 400)],
  ])('%s is refused and not replaced', (_name, damage) => {
    openAuthority(directory, Date.now())
    const path = join(directory, 'authority.pem')
    const damaged = damage(readFileSync(path, 'utf8'))
    writeFileSync(path, damaged)
    expect(() => openAuthority(directory, Date.now())).toThrow(
      expect.objectContaining({code: 'AUTHORITY_UNUSABLE'}),
    )
    expect(readFileSync(path, 'utf8')).toBe(damaged)
  })

  function otherKey(): string {
    const other = mkdtempSync(join(directory, 'other-'))
    openAuthority(other, Date.now())
    return readFileSync(join(other, 'authority.pem'), 'utf8').replace(/-----BEGIN CERT[\s\S]*/, '')
  }
})

describe('leaf certificates', () => {
  test('pass the strict verification of OpenSSL, long names and reopened authority included', async () => {
    openAuthority(directory, Date.now())
    const authority = openAuthority(directory, Date.now())
    const ca = join(directory, 'ca.pem')
    writeFileSync(ca, authority.certificate)
    const leaves = new Leaves(authority)
    for (const host of [
      'example.com',
      `${'a'.repeat(60)}.${'b'.repeat(60)}.example.com`,
      'xn--bcher-kva.example',
    ]) {
      const leaf = join(directory, 'leaf.pem')
      writeFileSync(leaf, leaves.certificateFor(host))
      const verify = await command(
        'openssl',
        'verify',
        '-x509_strict',
        '-purpose',
        'sslserver',
        '-verify_hostname',
        host,
        '-CAfile',
        ca,
        leaf,
      )
      expect(verify).toEqual({code: 0, text: `${leaf}: OK\n`})
      const other = await command(
        'openssl',
        'verify',
        '-x509_strict',
        '-verify_hostname',
        'other.example',
        '-CAfile',
        ca,
        leaf,
      )
      expect(other.code).not.toBe(0)
    }
  })

  test('are valid for seven days, from the day before, and renewed when a day old', () => {
    let now = Date.parse('2030-01-10T12:00:00Z')
    const leaves = new Leaves(openAuthority(directory, now), () => now)
    const x509 = new X509Certificate(leaves.certificateFor('a.example'))
    expect([Date.parse(x509.validFrom), Date.parse(x509.validTo)]).toEqual([
      Date.parse('2030-01-09T12:00:00Z'),
      Date.parse('2030-01-17T12:00:00Z'),
    ])
    const context = leaves.contextFor('a.example')
    now += 23 * 3600_000
    expect(leaves.contextFor('a.example')).toBe(context)
    now += 2 * 3600_000
    expect(leaves.contextFor('a.example')).not.toBe(context)
    now -= 365 * 24 * 3600_000
    expect(leaves.contextFor('a.example')).not.toBe(context)
  })

  test('are kept for so many names, the least recently used goes first', () => {
    const leaves = new Leaves(openAuthority(directory, Date.now()), Date.now, 3)
    const [kept, dropped] = [leaves.contextFor('kept.example'), leaves.contextFor('dropped.example')]
    for (const host of ['a.example', 'kept.example', 'b.example']) leaves.contextFor(host)
    expect(leaves.size).toBe(3)
    expect(leaves.contextFor('kept.example')).toBe(kept)
    expect(leaves.contextFor('dropped.example')).not.toBe(dropped)
  })

  test('serve TLS to a client that trusts the authority, and to no other', async () => {
    const authority = openAuthority(directory, Date.now())
    const leaves = new Leaves(authority)
    const server: Server = createServer(
      {SNICallback: (name, done) => done(null, leaves.contextFor(name))},
      (socket) => socket.end('hello'),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const {port} = server.address() as AddressInfo
    const read = (ca?: string) =>
      new Promise<string>((resolve) => {
        let text = ''
        const socket = connect({host: '127.0.0.1', port, servername: 'shop.example', ...(ca ? {ca} : {})})
        socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
        socket.on('end', () => resolve(text))
      })
    expect(await read(authority.certificate)).toBe('hello')
    expect(await read()).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    await new Promise((resolve) => server.close(resolve))
  })
})

describe('what the agent trusts', () => {
  test('is written as a CA file, a bundle with the public roots and a store that Java lists', async () => {
    const authority = openAuthority(directory, Date.now())
    const roots = readSystemRoots(systemRootsPath)
    publishTrust(directory, authority.certificate, roots)
    expect(readFileSync(join(directory, 'ca.pem'), 'utf8')).toBe(authority.certificate)
    const bundle = certificatesOf(readFileSync(join(directory, 'bundle.pem'), 'utf8'))
    expect(bundle.length).toBe(certificatesOf(roots).length + 1)
    expect(statSync(join(directory, 'truststore.p12')).mode & 0o777).toBe(0o644)
    const list = await command(
      'keytool',
      '-list',
      '-storepass',
      'changeit',
      '-keystore',
      join(directory, 'truststore.p12'),
    )
    expect(list.text).toContain(`Your keystore contains ${bundle.length} entries`)
    expect(list.text).toMatch(/^cage, .*trustedCertEntry/m)
  }, 60_000)

  test('never holds a private key', () => {
    publishTrust(
      directory,
      openAuthority(directory, Date.now()).certificate,
      readSystemRoots(systemRootsPath),
    )
    for (const file of ['ca.pem', 'bundle.pem', 'truststore.p12'])
      expect(readFileSync(join(directory, file), 'latin1')).not.toContain('PRIVATE KEY')
  })
})

describe('DER', () => {
  test('integers stay positive and minimal', () => {
    expect(unsigned(0).toString('hex')).toBe('020100')
    expect(unsigned(127).toString('hex')).toBe('02017f')
    expect(unsigned(128).toString('hex')).toBe('02020080')
    expect(unsigned(Buffer.from('0000ff', 'hex')).toString('hex')).toBe('020200ff')
  })

  test('times change their form in 2050', () => {
    expect(time(Date.parse('2049-12-31T23:59:59Z')).toString('latin1').slice(2)).toBe('491231235959Z')
    expect(time(Date.parse('2050-01-01T00:00:00Z')).toString('latin1').slice(2)).toBe('20500101000000Z')
  })
})
