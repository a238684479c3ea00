import {execFileSync} from 'node:child_process'
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, describe, expect, it} from '@jest/globals'
import {mustRenew} from '../../../provision/cluster/certificates.js'

const DAY = 24 * 3600_000
const scratch = mkdtempSync(join(tmpdir(), 'cage-certificates-'))
afterAll(() => rmSync(scratch, {recursive: true, force: true}))

/** A certificate that signs, and one that it signed, of so many days from now. */
function certificates(authorityDays: number, days: number): string {
  const file = (name: string) => join(scratch, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, {stdio: 'pipe'})
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    file('ca.key'),
    '-subj',
    '/CN=kubernetes',
    '-days',
    String(authorityDays),
    '-out',
    file('ca.crt'),
  )
  openssl('req', ...key, '-keyout', file('key'), '-subj', '/CN=kube-apiserver', '-out', file('csr'))
  writeFileSync(file('ext'), 'basicConstraints=critical,CA:FALSE\n')
  const signed = [
    '-CA',
    file('ca.crt'),
    '-CAkey',
    file('ca.key'),
    '-set_serial',
    '1',
    '-extfile',
    file('ext'),
  ]
  openssl('x509', '-req', '-in', file('csr'), ...signed, '-days', String(days), '-out', file('crt'))
  return readFileSync(file('ca.crt'), 'utf8') + readFileSync(file('crt'), 'utf8')
}

describe('the certificates of a cluster', () => {
  const now = Date.now()
  const told = (time: number, text: string) => `${Math.floor(time / 1000)}\n${text}`
  const years = certificates(3650, 3650)

  it('stay while they are valid', () => {
    expect(mustRenew(told(now, years), now)).toBe(false)
  })

  it('are renewed when they ended, and before: the machine may be off then', () => {
    const text = certificates(3650, 40)
    expect(mustRenew(told(now, text), now)).toBe(false)
    expect(mustRenew(told(now + 11 * DAY, text), now + 11 * DAY)).toBe(true)
    expect(mustRenew(told(now + 100 * DAY, text), now + 100 * DAY)).toBe(true)
  })

  it('are not renewed because a clock is wrong', () => {
    const wrong = {
      code: 'CLOCK_WRONG',
      exitCode: 3,
      hints: expect.arrayContaining([expect.stringContaining('timedatectl')]),
    }
    for (const [machine, computer] of [
      [now + 4000 * DAY, now],
      [now, now + 4000 * DAY],
      [now - 6 * 60_000, now],
      [now - DAY, now - DAY],
    ] as const) {
      expect(() => mustRenew(told(machine, years), computer)).toThrow(expect.objectContaining(wrong))
    }
  })

  it('cannot be renewed by an authority that ended', () => {
    const late = now + 4000 * DAY
    expect(() => mustRenew(told(late, years), late)).toThrow(
      expect.objectContaining({code: 'CERTIFICATES_ENDED', exitCode: 3}),
    )
  })
})
