import {createHash, X509Certificate} from 'node:crypto'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {issueServer, parseAuthority} from '../../../core/certificates/authority.js'
import type {CredentialBinding, EgressRoute} from '../../../policy/grant.js'
import {egressRule} from '../../support/grants.js'
import {world} from './addresses.js'
import {missing, TestNetwork, type GrantChange, type WorldEvent} from './network.js'

const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const names = ['allowed', 'behind', 'refused', 'inside', 'special', 'neighbour', 'flip', 'mixed']
const rules = [
  ...names.map((name) => egressRule({id: name, host: `${name}.test`})),
  egressRule({id: 'plain', host: 'plain.test', port: 80, scheme: 'http'}),
  egressRule({id: 'web', host: '*', methods: ['GET'], urlBytes: 200, hosts: 1}),
]
let network: TestNetwork
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  const openings = [
    `${world.resolver}/udp/53`,
    `${world.dispatcher}/tcp/443`,
    `${world.privateHost}/tcp/8443`,
    `${world.companyProxy}/tcp/3128`,
    `${world.special}/tcp/443`,
    `${world.specialNeighbour}/tcp/443`,
  ]
  await network.fence(openings.join(' '))
  network.writeGrant({rules})
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())

const arrived = () =>
  network.seen().filter(({place, tls}) => !place.includes('resolver') && tls === undefined)
const header = (event: WorldEvent | undefined, name: string) => {
  const raw = (event?.['rawHeaders'] ?? []) as string[]
  const at = raw.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === name)
  return at < 0 ? undefined : raw[at + 1]
}

describeHere('the proxy of a company', () => {
  const upstreamProxy = `http://${world.companyProxy}:3128`
  beforeAll(async () => {
    if (reason === undefined) await network.put({rules, upstreamProxy})
  })
  afterAll(async () => {
    if (reason === undefined) await network.put({rules})
  })

  test('is asked for what policy allows, with the name and the TLS of the host', async () => {
    expect((await network.curl('https://behind.test/x')).status).toBe(200)
    expect(await network.curl('http://plain.test/y')).toMatchObject({status: 200})
    expect(network.seen().map(({place, connect, url}) => [place, connect ?? url])).toEqual([
      ['company-proxy', 'behind.test:443'],
      ['public', '/x'],
      ['company-proxy', 'plain.test:80'],
      ['public-http', '/y'],
    ])
  })

  test('sees nothing of what policy or scanner refuse', async () => {
    expect((await network.curl('-X', 'POST', 'https://other.test/')).reason).toBe('method_not_allowed')
    expect((await network.curl('-d', network.handle, 'https://behind.test/')).reason).toBe('secret_found')
    expect(arrived()).toEqual([])
  })

  test('that refuses is a failure, not a way around it', async () => {
    expect(await network.curl('https://refused.test/')).toMatchObject({
      status: 502,
      reason: 'upstream_unreachable',
    })
    expect(arrived().map(({place}) => place)).toEqual(['company-proxy'])
  })

  test('resolves, so the address guard is off behind it: the opening that cage status names (ADDR-9)', async () => {
    expect((await network.curl('https://inside.test/')).status).toBe(200)
    expect(arrived().map(({place}) => place)).toEqual(['company-proxy', 'private-public-ca'])
  })
})

describeHere('special addresses', () => {
  test('are refused, and with allowAddresses the named one alone is not', async () => {
    expect((await network.curl('https://special.test/')).reason).toBe('address_not_public')
    await network.put({rules, allowAddresses: [`${world.special}/32`]})
    expect((await network.curl('https://special.test/')).status).toBe(200)
    expect((await network.curl('https://neighbour.test/')).reason).toBe('address_not_public')
    expect(arrived().map(({place}) => place)).toEqual(['special'])
    await network.put({rules})
  })

  test('that may never be opened make the grant invalid, and the one in force stays', async () => {
    for (const range of ['169.254.169.254/32', '127.0.0.1/32', '203.0.113.0/24']) {
      await expect(network.put({rules, allowAddresses: [range]})).rejects.toThrow()
    }
    expect((await network.curl('https://allowed.test/')).status).toBe(200)
  })
})

describeHere('names whose addresses change (ADDR-2)', () => {
  test('lose: a public one that turns private is refused', async () => {
    expect((await network.curl('https://flip.test/')).status).toBe(200)
    // A new grant starts with new connections, and the answer was for one second.
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await network.put({rules})
    expect((await network.curl('https://flip.test/')).reason).toBe('address_not_public')
    expect(arrived().map(({place}) => place)).toEqual(['public'])
  })

  test('lose: an answer that mixes public and private ones is refused as a whole', async () => {
    for (let times = 0; times < 3; times++)
      expect((await network.curl('https://mixed.test/')).reason).toBe('address_not_public')
    expect((await network.audit()).at(-1)).toMatchObject({
      reason: 'address_not_public',
      detail: expect.stringContaining(world.privateHost),
    })
    expect(arrived()).toEqual([])
  })
})

describeHere('any host', () => {
  test('means so many of them, with short addresses (DLP-6)', async () => {
    expect((await network.curl('https://a.wild.test/')).status).toBe(200)
    expect((await network.curl('https://b.wild.test/')).reason).toBe('host_budget')
    expect((await network.curl(`https://a.wild.test/?${'x'.repeat(200)}`)).reason).toBe('url_too_long')
    expect(arrived()).toHaveLength(1)
    await network.killSidecar()
    network.writeGrant({rules})
    await network.startSidecar()
    expect((await network.curl('https://b.wild.test/')).reason).toBe('host_budget')
    expect((await network.curl('https://a.wild.test/')).status).toBe(200)
  })

  test('an upload budget of the task holds for all of them, and outlives the sidecar', async () => {
    // The sidecar counts in steps of at most 256 KiB and has been restarted before.
    const budget = {uploadBytes: 600_000}
    await network.put({rules, budget})
    const send = () => network.curl('-d', 'x'.repeat(100_000), 'https://allowed.test/')
    expect((await send()).status).toBe(200)
    let answer = await send()
    for (let times = 0; times < 6 && answer.status === 200; times++) answer = await send()
    expect(answer).toMatchObject({status: 403, reason: 'budget_spent'})
    await network.killSidecar()
    network.writeGrant({rules, budget})
    await network.startSidecar()
    expect((await send()).body).toContain('budget:upload')
    expect((await network.curl('-d', 'x'.repeat(50_000), 'https://git.cage.internal/x')).status).toBe(200)
    await network.put({rules})
  })
})

describeHere('inference.local', () => {
  const authority = () => parseAuthority(network.privateCa)
  const credential: CredentialBinding = {
    name: 'gateway',
    placeholder: 'cage-gateway-7733aa11cc55ee99',
    host: 'inference.local',
    port: 443,
    inject: {kind: 'header', header: 'authorization', template: 'Bearer {}'},
  }
  const grant = (route: Partial<EgressRoute> = {}, over: GrantChange = {}): GrantChange => ({
    rules,
    routes: [
      {
        name: 'inference.local',
        url: 'https://llm.corp:8443/gateway',
        address: world.privateHost,
        ca: authority().certificate,
        ...route,
      },
    ],
    ...over,
  })
  const ask = (path: string, ...more: string[]) =>
    network.curl(
      '-d',
      JSON.stringify({model: 'qwen3', max_tokens: 100, messages: [{role: 'user', content: 'hi'}]}),
      ...more,
      `https://inference.local${path}`,
    )
  const own = ['-H', 'Authorization: Bearer sk-mine', '-H', 'X-Api-Key: mine', '-H', 'Cookie: a=b']

  test('speaks both shapes, below the path of the route, and drops what the caller showed', async () => {
    await network.put(grant())
    for (const path of ['/v1/messages', '/v1/chat/completions']) {
      expect((await ask(path, ...own)).status).toBe(200)
      const [event] = arrived()
      expect([event?.place, event?.['url'], header(event, 'host')]).toEqual([
        'private',
        `/gateway${path}`,
        'llm.corp:8443',
      ])
      expect(JSON.stringify(event)).not.toMatch(/mine|a=b/)
      expect((await network.audit()).at(-1)).toMatchObject({
        rule: 'route:inference.local',
        usage: {model: 'qwen3', input: 10, output: 5, usd: 0},
      })
    }
  })

  test('gets a credential of its own', async () => {
    await network.put(grant({}, {credentials: [credential]}), {gateway: 'REAL-gateway-key-42'})
    const shown = ['-H', `Authorization: Bearer ${credential.placeholder}`]
    expect((await ask('/v1/messages', ...shown)).status).toBe(200)
    expect(header(arrived()[0], 'authorization')).toBe('Bearer REAL-gateway-key-42')
    expect((await ask('/v1/messages', ...own)).reason).toBe('credential_foreign')
    await network.put(grant())
  })

  test.each([
    ['/api/delete', 'path_not_allowed'],
    ['/metrics', 'path_not_allowed'],
    ['/v1/../admin', 'path_not_allowed'],
  ])('does not lead to %s', async (path, why) => {
    expect((await ask(path, '--path-as-is')).reason).toBe(why)
    expect((await network.curl('-X', 'PUT', 'https://inference.local/v1/models')).reason).toBe(
      'method_not_allowed',
    )
    expect((await network.curl('https://inference.local/v1/messages?api_key=x')).status).toBe(403)
    expect(arrived()).toEqual([])
  })

  test('is limited in tokens as every model', async () => {
    const {result} = await network.control({op: 'status'})
    const {tokens} = result?.['spend'] as {tokens: number}
    await network.put(grant({}, {budget: {tokens, usd: 0}}))
    expect((await ask('/v1/messages')).reason).toBe('budget_spent')
    await network.put(grant({}, {budget: {tokens: tokens + 1000, usd: 0}}))
    expect((await ask('/v1/messages')).status).toBe(200)
    await network.put(grant())
  })

  test('holds the other side to a pinned key, with a CA or without', async () => {
    const {certificate} = issueServer(authority(), 'other', Date.now(), 2)
    const pinOf = (pem: string) => {
      const key = new X509Certificate(pem).publicKey.export({type: 'spki', format: 'der'})
      return `sha256/${createHash('sha256').update(key).digest('base64')}`
    }
    const right = await network.pinOf(world.privateHost, 8443, 'llm.corp')
    const alone = {name: 'inference.local', url: 'https://llm.corp:8443', address: world.privateHost}
    for (const [route, status] of [
      [{...alone, pin: right}, 200],
      [{...alone, pin: pinOf(certificate)}, 502],
      [{...alone, ca: authority().certificate, pin: right}, 200],
      [{...alone, ca: authority().certificate, pin: pinOf(certificate)}, 502],
      [{...alone, ca: parseAuthority(network.publicCa).certificate, pin: right}, 502],
    ] as const) {
      await network.put({rules, routes: [route]})
      const answer = await ask('/v1/messages')
      expect([answer.status, answer.reason]).toEqual([
        status,
        status === 200 ? undefined : 'upstream_certificate',
      ])
      expect(arrived()).toHaveLength(status === 200 ? 1 : 0)
    }
  })
})
