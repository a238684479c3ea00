import {appendFileSync, chownSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {afterEach, beforeEach, describe, expect, jest, test} from '@jest/globals'
import {runOk, processRunner} from '../../../core/process.js'
import {generateGrantKey} from '../../../policy/sign.js'
import {brokenLink} from '../../../proxy/audit/record.js'
import {egressRule} from '../../support/grants.js'
import {missing, TestNetwork} from './network.js'

const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
jest.setTimeout(60_000)
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const rules = [egressRule({host: 'allowed.test'})]
const proxy = ['-x', 'http://127.0.0.1:3128']
let network: TestNetwork
const arrived = () => network.seen().filter(({place}) => !place.includes('resolver'))

/** Refused with this reason, and nothing reached the other side. */
async function expectClosed(why: string): Promise<void> {
  network.seen()
  const before = await network.packets()
  expect(await network.curl(...proxy, 'https://allowed.test/x')).toMatchObject({reason: why})
  expect((await network.curl('https://git.cage.internal/ready')).status).not.toBe(200)
  expect(arrived()).toEqual([])
  expect(await network.packets()).toBe(before)
}

async function expectOpen(): Promise<void> {
  expect(await network.curl('https://allowed.test/x')).toMatchObject({status: 200})
}

describeHere('closed on failure (OPEN)', () => {
  beforeEach(async () => {
    network = await TestNetwork.create()
    await network.fence()
  })
  afterEach(() => network.destroy())

  test('no grant, then one by control: from closed to open without a restart', async () => {
    await network.startSidecar()
    await expectClosed('grant_missing')
    network.writeGrant({rules})
    await network.killSidecar()
    await network.startSidecar()
    await expectOpen()
  })

  test('an empty list of rules allows nothing, and the dispatcher still answers (OPEN-1)', async () => {
    network.writeGrant({rules: []})
    await network.startSidecar()
    expect(await network.curl(...proxy, 'https://allowed.test/x')).toMatchObject({reason: 'host_not_allowed'})
    expect((await network.curl('https://git.cage.internal/ready')).status).toBe(200)
  })

  test.each<[string, (text: string) => string]>([
    ['a changed body', (text) => text.replace('allowed.test', 'canary1.test')],
    ['a raised revision', (text) => text.replace('"revision":1', '"revision":7')],
    ['half a file', (text) => text.slice(0, text.length / 2)],
    ['an unknown field (OPEN-9)', (text) => text.replace('{"head"', '{"also":1,"head"')],
  ])('a grant with %s denies all and says so', async (_name, damage) => {
    network.writeGrant({rules})
    const path = network.path('grant/egress.json')
    writeFileSync(path, damage(readFileSync(path, 'utf8')))
    await network.startSidecar()
    await expectClosed('grant_invalid')
    expect((await network.audit())[0]).toMatchObject({
      kind: 'grant',
      decision: 'deny',
      reason: 'grant_invalid',
    })
  })

  test('a grant of another key, another handle or with unusable values denies all', async () => {
    const other = generateGrantKey()
    writeFileSync(
      network.path('grant/egress.json'),
      JSON.stringify(network.sign(network.grant({rules}), other)),
    )
    writeFileSync(network.path('grant/credentials.json'), '{}')
    writeFileSync(network.path('grant/handle'), network.handle)
    for (const name of ['egress.json', 'credentials.json', 'handle'])
      chownSync(network.path('grant', name), 64000, 64000)
    await network.startSidecar()
    await expectClosed('grant_invalid')
    for (const damage of [
      () => writeFileSync(network.path('grant/handle'), 'cgt_00'),
      () => writeFileSync(network.path('grant/credentials.json'), '{"a":"x\\r\\ny: z and more"}'),
      () => writeFileSync(network.path('grant/credentials.json'), '{"a":"short"}'),
    ]) {
      await network.killSidecar()
      network.writeGrant({rules})
      damage()
      await network.startSidecar()
      await expectClosed('grant_invalid')
    }
  })

  test('a lower revision is refused: by control the good one stays, at a start all is denied (OPEN-6)', async () => {
    network.writeGrant({rules, revision: 5})
    await network.startSidecar()
    await expectOpen()
    const lower = network.sign(network.grant({rules: [], revision: 4}))
    expect(await network.control({op: 'grant.put', part: lower, credentials: {}})).toMatchObject({
      ok: false,
      error: {code: 'GRANT_OUTDATED'},
    })
    await expectOpen()
    await network.killSidecar()
    network.writeGrant({rules, revision: 3})
    await network.startSidecar()
    await expectClosed('grant_outdated')
    expect(await network.control({op: 'status'})).toMatchObject({
      ok: true,
      result: {
        admitting: false,
        highestRevision: 5,
        closed: expect.stringContaining('revision 3 is older than 5'),
      },
    })
    await network.put({rules, revision: 6})
    await expectOpen()
  })

  test('a pushed grant takes over between two requests, a bad one changes nothing', async () => {
    network.writeGrant({rules})
    await network.startSidecar()
    await expectOpen()
    const bad = {...network.sign(network.grant({rules: [], revision: 9})), signature: 'AAAA'}
    expect(await network.control({op: 'grant.put', part: bad, credentials: {}})).toMatchObject({
      ok: false,
      error: {code: 'GRANT_SIGNATURE'},
    })
    expect(await network.control({op: 'nonsense'})).toMatchObject({
      ok: false,
      error: {code: 'CONTROL_REQUEST'},
    })
    expect(await network.control('text')).toMatchObject({ok: false})
    await expectOpen()
    await network.put({rules: []})
    expect(await network.curl('https://allowed.test/x')).toMatchObject({code: 6})
    expect(
      await network.curl('--resolve', 'allowed.test:443:198.18.0.1', 'https://allowed.test/x'),
    ).toMatchObject({reason: 'host_not_allowed'})
  })

  test('without a usable CA there is no sidecar, and nothing leaves (OPEN-4)', async () => {
    network.writeGrant({rules})
    await network.startSidecar()
    await network.killSidecar()
    writeFileSync(network.path('state/authority.pem'), 'no key')
    await expect(network.startSidecar()).rejects.toThrow(/certificate authority .* cannot be used/)
    const before = await network.packets()
    expect((await network.curl('https://allowed.test/x')).code).not.toBe(0)
    expect((await network.curl(...proxy, 'https://allowed.test/x')).code).not.toBe(0)
    expect(await network.packets()).toBe(before)
  })

  test('without a usable ledger there is no sidecar either', async () => {
    network.writeGrant({rules})
    writeFileSync(network.path('ledger/audit.jsonl'), 'not a record\n')
    await expect(network.startSidecar()).rejects.toThrow(/audit ledger .* cannot be used/)
  })

  test('a full audit disk stops everything, and room heals it', async () => {
    await runOk(processRunner, {
      argv: [
        'mount',
        '-t',
        'tmpfs',
        '-o',
        'size=256k,mode=0700,uid=64000,gid=64000',
        'tmpfs',
        network.path('ledger'),
      ],
    })
    try {
      network.writeGrant({rules})
      await network.startSidecar()
      await expectOpen()
      const filler = network.path('ledger/filler')
      try {
        for (;;) appendFileSync(filler, Buffer.alloc(4096))
      } catch {
        // The disk is full.
      }
      // What still fits into the last block is used up first.
      for (let i = 0; i < 40 && (await network.curl('https://allowed.test/x')).status === 200; i++)
        await new Promise((resolve) => setTimeout(resolve, 80))
      await expectClosed('audit_unavailable')
      expect((await network.curl(...proxy, 'https://allowed.test/x')).status).toBe(503)
      rmSync(filler)
      await new Promise((resolve) => setTimeout(resolve, 2500))
      await expectOpen()
      await network.audit()
      expect(
        brokenLink(readFileSync(network.path('ledger/audit.jsonl'), 'utf8').split('\n').filter(Boolean)),
      ).toBeUndefined()
    } finally {
      await network.killSidecar()
      await runOk(processRunner, {argv: ['umount', network.path('ledger')]})
    }
  })

  test('restarts keep the chain of records, the CA and the names', async () => {
    network.writeGrant({rules})
    await network.startSidecar()
    await expectOpen()
    const ca = readFileSync(network.caFile, 'utf8')
    await network.killSidecar('SIGTERM')
    await network.startSidecar()
    await expectOpen()
    await network.killSidecar()
    await network.startSidecar()
    await expectOpen()
    expect(readFileSync(network.caFile, 'utf8')).toBe(ca)
    const records = await network.audit()
    expect(brokenLink(records.map((record) => JSON.stringify(record)))).toBeUndefined()
    expect(records.filter(({reason: why}) => why === 'allowed').length).toBeGreaterThanOrEqual(2)
    expect(records.some(({reason: why}) => why === 'stopped')).toBe(true)
  })
})

describeHere('the fence script', () => {
  test.each([
    '10.0.0.1/tcp',
    '10.0.0.1/udp/53/1',
    '10.0.0.1/icmp/1',
    '10.0.0/tcp/1',
    '010.0.0.1/tcp/1',
    '10.0.0.256/tcp/1',
    '169.254.169.254/tcp/80',
    '127.0.0.1/tcp/1',
    '224.0.0.1/udp/1',
    '10.0.0.1/tcp/0',
    '10.0.0.1/tcp/65536',
    '10.0.0.1/tcp/1;reboot',
    '$(reboot)/tcp/1',
    '*/tcp/1',
    '10.0.0.0/8/tcp/1',
    '::1/tcp/1',
  ])('refuses %s, applies nothing and fails (NAME-8, NET-14)', async (entry) => {
    network = await TestNetwork.create()
    try {
      const {code, stderr} = await network.fence(entry)
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^fence: not|^fence: protocol/)])
      const rules = await runOk(processRunner, {
        argv: ['ip', 'netns', 'exec', network.podName, 'nft', 'list', 'ruleset'],
      })
      expect(rules.toString()).toBe('')
    } finally {
      await network.destroy()
    }
  })

  test('fails when nft does, and can be run again', async () => {
    network = await TestNetwork.create()
    try {
      const argv = [
        'ip',
        'netns',
        'exec',
        network.podName,
        'setpriv',
        '--bounding-set',
        '-net_admin',
        'images/proxy/fence.sh',
      ] as const
      const powerless = await processRunner.run({
        argv: [...argv],
        env: {PATH: process.env['PATH'] ?? '', CAGE_FENCE_ALLOW: ''},
      })
      expect(powerless.code).not.toBe(0)
      expect((await network.fence()).code).toBe(0)
      expect((await network.fence('')).code).toBe(0)
    } finally {
      await network.destroy()
    }
  })
})
