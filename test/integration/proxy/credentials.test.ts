import {generateKeyPairSync} from 'node:crypto'
import {gzipSync} from 'node:zlib'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import type {CredentialBinding} from '../../../policy/grant.js'
import type {Headers} from '../../../proxy/facts.js'
import {sign, signatureHeaders} from '../../../proxy/sigv4.js'
import {fingerprintsOf} from '../../../scan/exact.js'
import {egressRule} from '../../support/grants.js'
import {missing, TestNetwork, type WorldEvent} from './network.js'

const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const PLACEHOLDER = 'sk-ant-cage-7f3a9c51e8d24b60a1c2d3e4f5061728'
const BASIC = 'cage-basic-19ab38cd57ef7604'
const POINTER = 'cage-pointer-5520aa71bc33de94'
const AWS = 'cage-aws-77aa66bb55cc44dd'
const REAL = {
  model: 'sk-ant-REAL-0123456789abcdefghij',
  git: 'ghp-REAL-git-password-77',
  body: 'REAL-body-token-1212"\\',
  aws: 'AKREALKEYID:REAL-aws-secret-0123456789',
}
const credentials: CredentialBinding[] = [
  {
    name: 'model',
    placeholder: PLACEHOLDER,
    host: 'model.test',
    port: 443,
    inject: {kind: 'header', header: 'Authorization', template: 'Bearer {}'},
  },
  {name: 'git', placeholder: BASIC, host: 'vault.test', port: 443, inject: {kind: 'basic', user: 'bot'}},
  {
    name: 'body',
    placeholder: POINTER,
    host: 'api.allowed.test',
    port: 443,
    inject: {kind: 'json', pointer: '/auth/token'},
  },
  {
    name: 'aws',
    placeholder: AWS,
    host: 'audited.test',
    port: 443,
    inject: {kind: 'sigv4', region: 'eu-central-1', service: 's3'},
  },
  {
    name: 'absent',
    placeholder: 'cage-absent-0000111122223333',
    host: 'limited.test',
    port: 443,
    inject: {kind: 'header', header: 'x-token', template: '{}'},
  },
]
const rules = [
  ...['model', 'vault', 'api.allowed', 'limited', 'allowed', 'audited'].map((name) =>
    egressRule({id: name, host: `${name}.test`}),
  ),
  egressRule({id: 'plain', host: 'plain.test', port: 80, scheme: 'http'}),
  egressRule({id: 'model-http', host: 'model.test', port: 80, scheme: 'http'}),
]
const base64 = (text: string) => Buffer.from(text).toString('base64')

let network: TestNetwork
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({rules, credentials, detectors: {audit: ['model.test']}}, REAL)
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())

const arrived = () => network.seen().filter(({place}) => !place.includes('resolver'))
const header = (event: WorldEvent | undefined, name: string) => {
  const raw = (event?.['rawHeaders'] ?? []) as string[]
  const at = raw.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === name)
  return at < 0 ? undefined : raw[at + 1]
}
const bearer = ['-H', `Authorization: Bearer ${PLACEHOLDER}`]
const expectNoValue = (text: string) => {
  for (const value of Object.values(REAL)) {
    for (const form of [
      value,
      base64(value).slice(4, -4),
      encodeURIComponent(value),
      Buffer.from(value).toString('hex'),
    ])
      expect(text).not.toContain(form)
  }
}

describeHere('in its own place', () => {
  test('a placeholder becomes the value, and the agent never reads it (CRED-7)', async () => {
    const answer = await network.curl('-i', ...bearer, 'https://model.test/x')
    expect(answer.status).toBe(200)
    expect(header(arrived()[0], 'authorization')).toBe(`Bearer ${REAL.model}`)
    expectNoValue(answer.body)
    expect(answer.body).toContain(`Bearer ${PLACEHOLDER}`)
    expect((await network.audit()).at(-1)).toMatchObject({credentials: ['model']})
  })

  test('nor from a compressed answer, one in pieces, a stream, or a part of one', async () => {
    for (const path of ['/gzip', '/split', '/sse']) {
      const {body, status} = await network.curl(
        ...bearer,
        '-H',
        'Accept-Encoding: gzip, zstd',
        '-H',
        'Range: bytes=0-20',
        '--compressed',
        `https://model.test${path}`,
      )
      expect([path, status, body.includes(PLACEHOLDER)]).toEqual([path, 200, true])
      expectNoValue(body)
    }
    const [event] = arrived()
    expect([header(event, 'accept-encoding'), header(event, 'range')]).toEqual(['identity', undefined])
  })

  test('Basic passwords work as git and npm send them (CRED-4)', async () => {
    expect((await network.curl('-u', `bot:${BASIC}`, 'https://vault.test/x')).status).toBe(200)
    expect(header(arrived()[0], 'authorization')).toBe(`Basic ${base64(`bot:${REAL.git}`)}`)
    expect((await network.curl('-u', `root:${BASIC}`, 'https://vault.test/x')).reason).toBe(
      'credential_foreign',
    )
    expect(arrived()).toEqual([])
  })

  test('a JSON pointer is filled there and nowhere else', async () => {
    const body = `{"note": "${POINTER}", "big": 12345678901234567890, "auth": {"token": "${POINTER}"}}`
    expect(
      (await network.curl('-H', 'Content-Type: application/json', '-d', body, 'https://api.allowed.test/x'))
        .status,
    ).toBe(200)
    const [event] = arrived()
    expect(event?.['body']).toBe(
      `{"note": "${POINTER}", "big": 12345678901234567890, "auth": {"token": ${JSON.stringify(REAL.body)}}}`,
    )
  })

  test('in the body to its own host it is inert text, and the conversation goes on (CRED-5, CRED-17)', async () => {
    const fixture = ['ghp', 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0xL3rU6'].join('_')
    const text = JSON.stringify({messages: [`ANTHROPIC_AUTH_TOKEN=${PLACEHOLDER}`, `token = "${fixture}"`]})
    expect((await network.curl(...bearer, '-d', text, 'https://model.test/x')).status).toBe(200)
    const [event] = arrived()
    expect(event?.['body']).toBe(text)
    expect((await network.audit()).at(-1)?.findings).toEqual(
      expect.arrayContaining([expect.objectContaining({rule: 'github-token', place: 'body'})]),
    )
    expect((await network.curl('-d', text, 'https://allowed.test/x')).reason).toMatch(
      /placeholder_unbound|secret_found/,
    )
    expect((await network.curl('-d', `token = "${fixture}"`, 'https://allowed.test/x')).reason).toBe(
      'secret_found',
    )
    expect(arrived()).toEqual([])
  })
})

describeHere('anywhere else it is refused (CRED-3)', () => {
  const spread: [string, string[]][] = [
    ['another header of its host', ['-H', `X-Other: ${PLACEHOLDER}`, 'https://model.test/x']],
    ['the user agent', ['-A', PLACEHOLDER, 'https://model.test/x']],
    ['the query', [`https://model.test/x?k=${PLACEHOLDER}`]],
    ['the path', [`https://model.test/${PLACEHOLDER}`]],
    ['the query, percent-encoded', [`https://model.test/x?k=${PLACEHOLDER.replaceAll('-', '%2d')}`]],
    ['the query, twice encoded', [`https://model.test/x?k=${PLACEHOLDER.replaceAll('-', '%252d')}`]],
    ['the query in base64', [`https://model.test/x?k=${base64(PLACEHOLDER)}`]],
    [
      'its header with more around it',
      ['-H', `Authorization: Bearer ${PLACEHOLDER} extra`, 'https://model.test/x'],
    ],
    ['its header with another scheme', ['-H', `Authorization: Token ${PLACEHOLDER}`, 'https://model.test/x']],
    ['Basic auth of its host', ['-u', `x:${PLACEHOLDER}`, 'https://model.test/x']],
    ['its header on another host', [...bearer, 'https://allowed.test/x']],
    ['Basic auth of another host', ['-u', `x:${PLACEHOLDER}`, 'https://allowed.test/x']],
    ['a header in base64', ['-H', `X-Other: ${base64(PLACEHOLDER)}`, 'https://allowed.test/x']],
    [
      'two headers',
      [
        '-H',
        `X-A: ${PLACEHOLDER.slice(0, 20)}`,
        '-H',
        `X-B: ${PLACEHOLDER.slice(20)}`,
        'https://allowed.test/x',
      ],
    ],
    ['a header name', ['-H', `${PLACEHOLDER}: 1`, 'https://allowed.test/x']],
    ['a body', ['-d', `k=${PLACEHOLDER}`, 'https://allowed.test/x']],
    ['a body in base64', ['-d', base64(`{"k":"${PLACEHOLDER}"}`), 'https://allowed.test/x']],
    ['a multipart file name', ['-F', `f=x;filename=${PLACEHOLDER}`, 'https://allowed.test/x']],
    ['plain HTTP to its host (CRED-13)', [...bearer, 'http://model.test/x']],
    ['plain HTTP to another', [...bearer, 'http://plain.test/x']],
    ['a request to the dispatcher', ['-H', `X-Other: ${PLACEHOLDER}`, 'https://git.cage.internal/x']],
  ]
  test.each(spread)('%s', async (_name, argv) => {
    const {status, reason: why} = await network.curl(...argv)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(why).toMatch(/placeholder_unbound|credential_foreign|credential_plaintext|port_not_allowed/)
    expect(arrived()).toEqual([])
  })

  test('in a compressed body (FRAME-9)', async () => {
    const input = gzipSync(`k=${PLACEHOLDER}`)
    const result = await network.agent(
      [
        'curl',
        '-sS',
        '--cacert',
        network.caFile,
        '-H',
        'Content-Encoding: gzip',
        '--data-binary',
        '@-',
        'https://allowed.test/x',
      ],
      {input},
    )
    expect(result.stdout.toString()).toContain('placeholder_unbound')
    expect(arrived()).toEqual([])
  })

  test('another task’s placeholder, or a guessed one, is no placeholder (CRED-6)', async () => {
    expect(
      (await network.curl('-H', `Authorization: Bearer ${PLACEHOLDER.slice(0, -1)}9`, 'https://model.test/x'))
        .reason,
    ).toBe('credential_foreign')
    expect(arrived()).toEqual([])
  })

  test('the record of a refusal does not repeat it', async () => {
    expect(JSON.stringify(await network.audit())).not.toContain(PLACEHOLDER)
  })
})

describeHere('requests that are signed (CRED-14)', () => {
  const client = (key: string) => ['--aws-sigv4', 'aws:amz:eu-central-1:s3', '-u', `${key}:signed-by-cage`]

  test('with the placeholder are signed anew, over what really goes out', async () => {
    const answer = await network.curl(...client(AWS), '-T', '-', 'https://audited.test/a%20b?x=1')
    expect(answer.status).toBe(200)
    const [event] = arrived()
    expect(header(event, 'authorization')).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKREALKEYID\/\d{8}\/eu-central-1\/s3\/aws4_request, SignedHeaders=[a-z0-9;-]*host;x-amz-content-sha256;x-amz-date, Signature=[0-9a-f]{64}$/,
    )
    const sent: Headers = ((event?.['rawHeaders'] ?? []) as string[]).reduce<Headers>(
      (pairs, text, index, raw) => (index % 2 === 0 ? [...pairs, [text, raw[index + 1] ?? '']] : pairs),
      [],
    )
    const moment = (header(event, 'x-amz-date') ?? '').replace(
      /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/,
      '$1-$2-$3T$4:$5:$6Z',
    )
    const again = sign(
      {
        method: 'PUT',
        path: '/a%20b',
        query: 'x=1',
        host: 'audited.test',
        headers: sent.filter(([name]) => !signatureHeaders.has(name.toLowerCase()) && name !== 'host'),
        body: Buffer.alloc(0),
      },
      {region: 'eu-central-1', service: 's3'},
      {keyId: 'AKREALKEYID', secret: 'REAL-aws-secret-0123456789'},
      new Date(moment),
    )
    expect(header(event, 'authorization')).toBe(again.headers.at(-1)?.[1])
    expectNoValue(answer.body)
    expect(answer.body).not.toContain('REAL-aws')
    expect((await network.audit()).at(-1)).toMatchObject({credentials: ['aws']})
  })

  test.each([
    ['another key', client('AKATTACKER'), 'https://audited.test/'],
    ['the placeholder on another host', client(AWS), 'https://allowed.test/'],
    ['an address that is signed', [], 'https://audited.test/?X-Amz-Credential=a&X-Amz-Signature=b'],
    [
      'a body signed in pieces',
      [...client(AWS), '-H', 'x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER'],
      'https://audited.test/',
    ],
    ['the real secret', ['-d', 'REAL-aws-secret-0123456789'], 'https://allowed.test/'],
  ])('with %s are refused', async (_name, argv, url) => {
    expect((await network.curl(...argv, url)).status).toBe(403)
    expect(arrived()).toEqual([])
  })
})

describeHere('other credentials', () => {
  test('a value that is missing is refused, and neither placeholder nor request goes on (OPEN-5)', async () => {
    expect(
      (await network.curl('-H', 'X-Token: cage-absent-0000111122223333', 'https://limited.test/x')).reason,
    ).toBe('credential_missing')
    expect(arrived()).toEqual([])
  })

  test('the caller’s own do not act on a bound host (CRED-8)', async () => {
    expect(
      (await network.curl('-H', 'Authorization: Bearer attacker-key', 'https://model.test/v1/files')).reason,
    ).toBe('credential_foreign')
    expect(arrived()).toEqual([])
    await network.curl(
      ...bearer,
      '-H',
      'X-Api-Key: attacker-key',
      '-H',
      'Cookie: session=attacker',
      'https://model.test/x',
    )
    const [event] = arrived()
    expect(JSON.stringify(event)).not.toContain('attacker')
  })

  test('real values are refused wherever they come from', async () => {
    for (const argv of [
      ['-d', REAL.model, 'https://model.test/x'],
      ['-H', `X: ${base64(REAL.git)}`, 'https://allowed.test/x'],
      [`https://allowed.test/?x=${REAL.model}`],
      ['-d', network.handle, 'https://allowed.test/x'],
    ]) {
      expect((await network.curl(...argv)).reason).toBe('secret_found')
    }
    expect(arrived()).toEqual([])
  })

  test('what the dispatcher holds is refused by fingerprint, a line of a key too, and not shown', async () => {
    const {privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048})
    const pem = privateKey.export({type: 'pkcs1', format: 'pem'}).toString()
    const line = pem.split('\n')[9] ?? ''
    const attempts = [
      ['-d', line, 'https://allowed.test/x'],
      ['-H', `X: ${line}`, 'https://allowed.test/x'],
      ['-d', base64(pem), 'https://allowed.test/x'],
    ]
    const change = {rules, credentials, detectors: {audit: ['model.test']}}
    await network.put({...change, issued: fingerprintsOf([{id: 'github.key', value: pem}])}, REAL)
    for (const argv of attempts) {
      const answer = await network.curl(...argv)
      expect(answer.reason).toBe('secret_found')
      expect(JSON.stringify(answer)).not.toContain(line)
    }
    expect(arrived()).toEqual([])
    const records = (await network.audit()).slice(-attempts.length)
    expect(records.map(({rule}) => rule)).toEqual(attempts.map(() => 'exact:github.key'))
    expect(JSON.stringify(records)).not.toContain(line)
    // The control: the same line is fine once it is nobody's.
    await network.put(change, REAL)
    expect((await network.curl('-d', line, 'https://allowed.test/x')).status).toBe(200)
    expect(arrived()).toHaveLength(1)
  })

  test('a credential that was rotated is used from then on, the old value is gone (CRED-12)', async () => {
    await network.put(
      {rules, credentials, detectors: {audit: ['model.test']}},
      {...REAL, model: 'sk-ant-NEW-value-0123456789'},
    )
    await network.curl(...bearer, 'https://model.test/x')
    expect(header(arrived()[0], 'authorization')).toBe('Bearer sk-ant-NEW-value-0123456789')
    await network.put({rules, credentials, detectors: {audit: ['model.test']}}, REAL)
  })
})

describeHere('towards the dispatcher', () => {
  test('the handle replaces whatever the agent showed (ID-3)', async () => {
    const shown = ['-H', 'Authorization: token cage-placeholder', '-H', 'X-Cage-Handle: cgt_0000']
    expect(
      (await network.curl(...shown, 'https://git.cage.internal/shop.git/info/refs?service=git-upload-pack'))
        .status,
    ).toBe(200)
    expect(
      (await network.curl(...shown, 'https://github.com/o/r.git/info/refs?service=git-receive-pack')).status,
    ).toBe(200)
    const events = arrived()
    expect(
      events.map((event) => [
        event.place,
        header(event, 'host'),
        header(event, 'x-cage-handle'),
        header(event, 'authorization'),
      ]),
    ).toEqual([
      ['dispatcher', 'git.cage.internal', network.handle, undefined],
      ['dispatcher', 'github.com', network.handle, undefined],
    ])
    expect(JSON.stringify(events)).not.toContain('cgt_0000')
  })

  test('no other host ever sees the handle', async () => {
    await network.curl('-H', 'X-Cage-Handle: cgt_0000', 'https://allowed.test/x')
    expect(header(arrived()[0], 'x-cage-handle')).toBeUndefined()
  })
})

describeHere('in the pod', () => {
  test('neither value nor CA key can be read by the agent (CRED-1, CRED-2, CRED-11)', async () => {
    // In brackets, so that the search does not find itself.
    const hidden = (text: string) => `${text.slice(0, 9)}[${text.charAt(9)}]${text.slice(10)}`
    const script = `
      grep -rlaE -e 'REA[L]-' -e 'NEW-valu[e]' -e 'PRIVATE KE[Y]' --exclude='*.mjs' ${network.directory} 2>/dev/null | grep -v -e '-ca.pem$'
      cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | grep -aoE -e '${hidden(REAL.model)}' -e '${hidden(network.handle)}'
      touch ${network.path('trust/ca.pem')} ${network.path('trust/new')} ${network.path('state/x')} ${network.path('grant/x')} 2>/dev/null && echo writable
      true`
    const {stdout} = await network.agent(['sh', '-c', script])
    expect(stdout.toString()).toBe('')
  })
})
