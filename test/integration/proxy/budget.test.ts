import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {compileRules} from '../../../policy/compile.js'
import type {EgressGrant} from '../../../policy/grant.js'
import {egressRule} from '../../support/grants.js'
import type {Wanted} from './models.js'
import {missing, TestNetwork, type CurlAnswer} from './network.js'

const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const none = {presets: [], allow: [], deny: [], audit: [], routes: []}
const rules = [
  ...compileRules(none, ['anthropic', 'openai', 'google']),
  egressRule({id: 'batches', host: 'api.anthropic.com', paths: ['/v1/messages/batches']}),
  egressRule({id: 'allowed', host: 'allowed.test'}),
]
let network: TestNetwork
let spent = 0
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({rules})
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())

const arrived = () => network.seen().filter(({place}) => place === 'public')
const limit = (budget: EgressGrant['budget']) => network.put({rules, budget})
/** What is spent already, and so much more. */
const tokens = (more: number) => limit({tokens: spent + more})

function call(url: string, body: object, fake: Wanted = {}, ...more: string[]): Promise<CurlAnswer> {
  const json = ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)]
  return network.curl('-N', ...json, '-H', `x-fake: ${JSON.stringify(fake)}`, ...more, url)
}

const MESSAGES = 'https://api.anthropic.com/v1/messages'
const messages = [{role: 'user', content: 'hi'}]
const claude = (fake: Wanted = {}, over: object = {}) =>
  call(MESSAGES, {model: 'claude-haiku-4-5', max_tokens: 20, messages, ...over}, fake)
const usage = async () => (await network.audit()).at(-1)?.usage

describeHere('what models say they used', () => {
  const dialects: [string, string, object][] = [
    ['Anthropic', MESSAGES, {model: 'claude-haiku-4-5', max_tokens: 20, messages}],
    ['Anthropic, streaming', MESSAGES, {model: 'claude-haiku-4-5', max_tokens: 20, messages, stream: true}],
    ['Chat', 'https://api.openai.com/v1/chat/completions', {model: 'gpt-5', messages}],
    [
      'Chat, streaming',
      'https://api.openai.com/v1/chat/completions',
      {model: 'gpt-5', messages, stream: true},
    ],
    ['Responses', 'https://api.openai.com/v1/responses', {model: 'gpt-5', input: 'hi'}],
    [
      'Responses, streaming',
      'https://api.openai.com/v1/responses',
      {model: 'gpt-5', input: 'hi', stream: true},
    ],
    [
      'Gemini, streaming',
      'https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse',
      {contents: [{role: 'user', parts: [{text: 'hi'}]}]},
    ],
  ]
  test.each(dialects)('%s', async (_name, url, body) => {
    const answer = await call(url, body, {input: 1000, output: 200})
    spent += 1200
    expect(answer.status).toBe(200)
    const said = await usage()
    expect(said).toMatchObject({input: 1000, output: 200})
    expect(said?.usd).toBeGreaterThan(0)
    expect(said).not.toHaveProperty('estimated')
    // An agent that did not ask for the last event of a chat must not get it.
    expect(answer.body).not.toContain('"choices":[],')
  })

  test('an agent that asked for the usage of a chat gets it', async () => {
    const url = 'https://api.openai.com/v1/chat/completions'
    const body = {model: 'gpt-5', messages, stream: true, stream_options: {include_usage: true}}
    expect((await call(url, body)).body).toContain('"choices":[],"usage"')
    spent += 15
  })

  test('an error of the provider costs nothing, and a stream that breaks off all that was set aside', async () => {
    await claude({status: 529})
    expect(await usage()).toMatchObject({input: 0, output: 0, usd: 0})
    await claude({cut: true, input: 30}, {stream: true})
    expect(await usage()).toMatchObject({input: 30, estimated: true})
  })
})

describeHere('a limit', () => {
  test('is terminal once it is reached, and readable', async () => {
    const status = await network.control({op: 'status'})
    spent = (status.result?.['spend'] as {tokens: number}).tokens
    await tokens(100)
    expect((await claude({input: 80, output: 20})).status).toBe(200)
    spent += 100
    const refused = await claude()
    expect(refused).toMatchObject({status: 403, reason: 'budget_spent'})
    expect(JSON.parse(refused.body)).toMatchObject({error: 'cage_denied', rule: 'budget:tokens'})
    expect(arrived()).toHaveLength(1)
    expect((await network.curl('https://allowed.test/x')).status).toBe(200)
  })

  test('lowers the longest answer to what is left instead of leaving it unused', async () => {
    await tokens(200)
    expect((await claude({}, {max_tokens: 4000})).status).toBe(200)
    spent += 15
    const sent = JSON.parse(String(arrived()[0]?.['body'])) as {max_tokens: number}
    expect(sent.max_tokens).toBeGreaterThan(100)
    expect(sent.max_tokens).toBeLessThan(200)
  })

  test('cannot be overdrawn by many at once', async () => {
    await tokens(200)
    const all = await Promise.all(
      Array.from({length: 8}, () => claude({input: 30, output: 20, holdMs: 300}, {stream: true})),
    )
    const through = all.filter(({status}) => status === 200).length
    spent += through * 50
    expect(through).toBeGreaterThanOrEqual(2)
    expect(through).toBeLessThanOrEqual(4)
    expect(all.filter(({reason: why}) => why === 'budget_spent')).toHaveLength(8 - through)
    expect(arrived()).toHaveLength(through)
  })

  test('ends a stream that turns out dearer than it looked', async () => {
    await tokens(100)
    const answer = await claude(
      {input: 90, words: ['one '.repeat(8), 'two '.repeat(40), 'three'], holdMs: 3000},
      {stream: true},
    )
    expect(answer.body).toContain('one one')
    expect(answer.body).toMatch(/event: error\ndata: .*budget_spent/)
    expect(answer.body).not.toMatch(/three|message_stop/)
    expect((await claude()).reason).toBe('budget_spent')
  })

  test('in dollars counts by price', async () => {
    const {result} = await network.control({op: 'status'})
    const {usd} = result?.['spend'] as {usd: number}
    await limit({usd: usd + 0.01})
    expect((await claude({input: 1000, output: 1000}, {max_tokens: 1100})).status).toBe(200)
    expect((await usage())?.usd).toBeCloseTo(0.006)
    expect((await claude({input: 1000, output: 600}, {max_tokens: 4000})).status).toBe(200)
    expect((await claude({}, {max_tokens: 4000})).reason).toBe('budget_spent')
  })

  test('refuses what cannot be counted', async () => {
    await tokens(1e9)
    expect((await call('https://api.anthropic.com/v1/messages/batches', {})).reason).toBe('budget_unmetered')
    expect((await call(MESSAGES, messages)).reason).toBe('model_request_unreadable')
    const twice = ['-d', '{"model":"m","max_tokens":1,"max_tokens":9000,"messages":[]}', MESSAGES]
    expect((await network.curl(...twice)).reason).toBe('model_request_unreadable')
    expect(arrived()).toEqual([])
    expect((await network.curl('https://api.anthropic.com/v1/models')).status).toBe(200)
  })
})

describeHere('the agent', () => {
  test.each([
    [0.7, undefined],
    [0.82, '80 %'],
    [0.91, '90 %'],
    [0.96, '95 %'],
  ])('at %d of its budget is told %s', async (share, told) => {
    const {result} = await network.control({op: 'status'})
    const {tokens: now} = result?.['spend'] as {tokens: number}
    await limit({tokens: Math.round(now / share)})
    const block = [{role: 'user', content: [{type: 'tool_result', tool_use_id: 't', content: 'ok'}]}]
    expect((await claude({}, {messages: block, max_tokens: 16})).status).toBe(200)
    const [event] = arrived()
    const text = String(event?.['body'])
    if (told === undefined) expect(text).not.toContain('[cage]')
    else expect(text).toContain(`[cage] ${told} of this task's budget`)
    expect((await network.audit()).at(-1)?.told).toBe(told === undefined ? undefined : parseInt(told))
  })
})

describeHere('what was spent', () => {
  const spend = async () => (await network.control({op: 'status'})).result?.['spend'] as {tokens: number}

  test('is remembered by a sidecar that was killed, running calls as if they had cost all they could', async () => {
    await limit({tokens: 1e9})
    const before = (await spend()).tokens
    const running = claude({holdMs: 3000}, {stream: true, max_tokens: 5000})
    await new Promise((resolve) => setTimeout(resolve, 800))
    await network.killSidecar()
    await running
    network.writeGrant({rules, budget: {tokens: 1e9}})
    await network.startSidecar()
    const after = (await spend()).tokens
    expect(after).toBeGreaterThan(before + 5000)
    await limit({tokens: after})
    expect((await claude()).reason).toBe('budget_spent')
  })

  test('time ends requests and what runs, but not the way home', async () => {
    const {result} = await network.control({op: 'status'})
    const {seconds} = result?.['spend'] as {seconds: number}
    await limit({seconds: Math.ceil(seconds) + 3})
    const started = Date.now()
    const running = await network.curl(
      '-m',
      '20',
      '-N',
      'https://api.anthropic.com/v1/messages',
      ...stream(15_000),
    )
    expect(running.code).not.toBe(0)
    expect(Date.now() - started).toBeLessThan(14_000)
    const refused = await network.curl('https://allowed.test/x')
    expect(refused).toMatchObject({status: 403, reason: 'budget_spent'})
    expect(refused.body).toContain('budget:time')
    expect((await network.curl('https://git.cage.internal/ready')).status).toBe(200)
  })

  const stream = (holdMs: number) => [
    '-H',
    `x-fake: ${JSON.stringify({holdMs})}`,
    '-d',
    JSON.stringify({model: 'claude-haiku-4-5', max_tokens: 20, messages, stream: true}),
  ]
})
