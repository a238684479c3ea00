import {appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {Budget, type Need} from '../../../proxy/budget/budget.js'
import {changed, outputOf, readCall, shapeOf} from '../../../proxy/budget/calls.js'
import {Counters, countersFile} from '../../../proxy/budget/counters.js'
import {EventReader} from '../../../proxy/budget/events.js'
import {costOf, noUsage, priceOf} from '../../../proxy/budget/prices.js'
import {nothingSeen, see} from '../../../proxy/budget/usage.js'
import {Denial} from '../../../proxy/denial.js'

const reasonOf = async (act: () => Promise<unknown>): Promise<string> => {
  try {
    await act()
  } catch (error) {
    if (error instanceof Denial) return `${error.status} ${error.reason}`
    throw error
  }
  return 'let through'
}

describe('counters', () => {
  let directory: string
  beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'cage-counters-'))))
  afterEach(() => rmSync(directory, {recursive: true}))

  test('outlive the process, also one that died while it wrote', async () => {
    const first = await Counters.open(directory)
    await Promise.all([first.set('a', 1), first.set('b', 2), first.set('a', 3)])
    await first.close()
    appendFileSync(join(directory, countersFile), '\n{"a":9')
    const second = await Counters.open(directory)
    expect([second.get('a'), second.get('b'), second.get('c')]).toEqual([3, 2, 0])
    await second.set('c', 4)
    await second.close()
    const third = await Counters.open(directory)
    expect([third.get('a'), third.get('b'), third.get('c')]).toEqual([3, 2, 4])
    await third.close()
  })

  test('of another kind are no counters', async () => {
    writeFileSync(join(directory, countersFile), 'not\ncounters\n')
    await expect(Counters.open(directory)).rejects.toThrow('cannot be used')
  })

  test('are written anew when their file has grown', async () => {
    writeFileSync(join(directory, countersFile), '{"a":1}\n'.repeat(200_000))
    const counters = await Counters.open(directory)
    await counters.close()
    expect(readFileSync(join(directory, countersFile), 'utf8')).toBe('\n{"a":1}\n')
  })

  test('that cannot be written are said again with the next change', async () => {
    const lines: string[] = []
    let fails = true
    const counters = new Counters({
      append: (text) => {
        if (!fails) lines.push(text.trim())
        return fails ? Promise.reject(new Error('disk full')) : Promise.resolve()
      },
      close: () => Promise.resolve(),
    })
    await expect(counters.set('a', 1)).rejects.toThrow('disk full')
    fails = false
    await counters.set('b', 2)
    expect(JSON.parse(lines.at(-1) ?? '')).toEqual({a: 1, b: 2})
  })
})

describe('a budget', () => {
  const memory = (append: () => Promise<void> = () => Promise.resolve()) =>
    new Counters({append, close: () => Promise.resolve()})
  const need = (output: number, floor = 1): Need => ({
    input: {tokens: 10, nanoUsd: 0},
    output,
    nanoUsdPerOutput: 0,
    floor,
  })

  test('waits for what others have set aside, and takes what they leave', async () => {
    const budget = new Budget(memory())
    const first = await budget.reserve(need(80), {tokens: 100})
    const second = budget.reserve(need(80), {tokens: 100})
    await first.settle({tokens: 20, nanoUsd: 0})
    expect((await second).output).toBe(70)
  })

  test('does not wait for ever, nor for what can never be there', async () => {
    const budget = new Budget(memory(), () => performance.now(), 20)
    await budget.reserve(need(80), {tokens: 100})
    expect(await reasonOf(() => budget.reserve(need(80), {tokens: 100}))).toBe('429 budget_reserved')
    expect(await reasonOf(() => budget.reserve(need(95, 95), {tokens: 100}))).toBe('403 budget_spent')
  })

  test('is settled once, whatever is said later', async () => {
    const budget = new Budget(memory())
    const one = await budget.reserve(need(80), {tokens: 100})
    await one.settle({tokens: 5, nanoUsd: 1})
    await one.settle({tokens: 5, nanoUsd: 1})
    expect(budget.spend).toMatchObject({tokens: 5, usd: 1e-9})
  })

  test('that cannot be written down lets nothing through', async () => {
    const budget = new Budget(memory(() => Promise.reject(new Error('disk full'))))
    expect(await reasonOf(() => budget.reserve(need(1), {}))).toBe('503 budget_unavailable')
    expect(budget.spend.tokens).toBe(0)
  })

  test('of nothing allows nothing, and its time goes by a clock that does not jump', async () => {
    let now = 0
    const budget = new Budget(memory(), () => now)
    expect(await reasonOf(() => budget.reserve(need(1), {tokens: 0}))).toBe('403 budget_spent')
    expect(budget.isOvertime({seconds: 60})).toBe(false)
    now = 60_000
    expect(budget.isOvertime({seconds: 60})).toBe(true)
    expect(budget.used({seconds: 120})).toBe(0.5)
  })
})

describe('a stream of events', () => {
  test('is cut behind blank lines however it arrives, and nothing of it is lost', () => {
    const text = 'event: a\ndata: {"x":1}\n\n: ping\r\n\r\ndata:one\ndata: two\n\n\ndata: rest'
    for (let at = 0; at <= text.length; at++) {
      const reader = new EventReader()
      const events = [text.slice(0, at), text.slice(at)].flatMap((part) => reader.push(Buffer.from(part)))
      expect(events.map(({data}) => data)).toEqual(['{"x":1}', '', 'one\ntwo', ''])
      expect(Buffer.concat([...events.map(({bytes}) => bytes), reader.end()]).toString()).toBe(text)
    }
  })

  test('passes an event that is too large unread, and reads on behind it', () => {
    const reader = new EventReader()
    const events = [`data: ${'x'.repeat(5_000_000)}`, 'more\n\n', 'data: small\n\n'].flatMap((part) =>
      reader.push(Buffer.from(part)),
    )
    expect(events.map(({data}) => data)).toEqual([undefined, undefined, 'small'])
  })
})

describe('calls', () => {
  const read = (path: string, body: object) => {
    const bytes = Buffer.from(JSON.stringify(body))
    const shape = shapeOf('POST', path)
    if (shape === undefined || shape === 'free') throw new Error(`${path} is ${String(shape)}`)
    return {call: readCall(shape, path, bytes), bytes}
  }

  test.each([
    ['POST', '/v1/messages', 'anthropic'],
    ['POST', '/v1/messages/count_tokens', 'free'],
    ['POST', '/v1/messages/batches', undefined],
    ['POST', '/v1/messages/', undefined],
    ['GET', '/v1/models', 'free'],
    ['PUT', '/v1/messages', undefined],
    ['POST', '/v1beta/models/gemini-2.5-pro:generateContent', 'gemini'],
    ['POST', '/v1beta/models/gemini-2.5-pro:batchGenerateContent', undefined],
    ['POST', '/backend-api/codex/responses', 'responses'],
  ])('%s %s is %s', (method, path, shape) => {
    expect(shapeOf(method, path)).toBe(shape)
  })

  test('that need no change stay byte for byte', () => {
    const bytes = Buffer.from('{ "model": "m", "max_tokens": 1.0, "seed": 12345678901234567890 }')
    expect(changed(readCall('anthropic', '/v1/messages', bytes), bytes, {})).toBe(bytes)
  })

  test('count every answer they ask for', () => {
    expect(outputOf(read('/v1/chat/completions', {n: 4, max_completion_tokens: 50}).call)).toBe(200)
    expect(outputOf(read('/v1/chat/completions', {max_tokens: 1, max_completion_tokens: 50}).call)).toBe(50)
    expect(outputOf(read('/v1/responses', {}).call)).toBe(32_000)
    expect(outputOf(read('/v1/embeddings', {input: 'x'}).call)).toBe(0)
    const config = {candidateCount: 2, maxOutputTokens: 10}
    expect(outputOf(read('/v1internal:generateContent', {request: {generationConfig: config}}).call)).toBe(20)
    expect(read('/v1/responses', {previous_response_id: 'r'}).call.input).toBeGreaterThan(100_000)
  })

  test('count them in every spelling that protocol buffers take', () => {
    const path = '/v1beta/models/gemini-2.5-pro:generateContent'
    const quoted = {candidate_count: '8', max_output_tokens: '60000'}
    expect(outputOf(read(path, {generation_config: quoted}).call)).toBe(480_000)
    expect(() => read(path, {generation_config: {}, generationConfig: quoted})).toThrow(
      'model_request_unreadable',
    )
  })

  test.each<[string, object, object]>([
    ['/v1/messages', {max_tokens: 9}, {max_tokens: 7}],
    ['/v1/chat/completions', {}, {max_completion_tokens: 7}],
    ['/v1/chat/completions', {max_tokens: 9}, {max_tokens: 7}],
    ['/v1/responses', {max_output_tokens: 9}, {max_output_tokens: 7}],
    ['/v1/models/m:generateContent', {}, {generationConfig: {maxOutputTokens: 7}}],
  ])('%s %j is lowered to %j', (path, body, lowered) => {
    const {call, bytes} = read(path, body)
    expect(JSON.parse(changed(call, bytes, {output: 7}).toString())).toEqual(lowered)
  })

  test.each<[string, object, object]>([
    [
      '/v1/messages',
      {messages: [{role: 'user', content: 'a'}]},
      {messages: [{role: 'user', content: 'a\n\nNOTE'}]},
    ],
    [
      '/v1/messages',
      {messages: [{role: 'assistant', content: 'a'}]},
      {messages: [{role: 'assistant', content: 'a'}]},
    ],
    [
      '/v1/chat/completions',
      {messages: [{role: 'tool', content: 'a'}]},
      {
        messages: [
          {role: 'tool', content: 'a'},
          {role: 'user', content: 'NOTE'},
        ],
      },
    ],
    ['/v1/responses', {input: 'a'}, {input: 'a\n\nNOTE'}],
    [
      '/v1/responses',
      {input: []},
      {input: [{type: 'message', role: 'user', content: [{type: 'input_text', text: 'NOTE'}]}]},
    ],
    [
      '/v1/models/m:generateContent',
      {contents: [{role: 'user', parts: []}]},
      {contents: [{role: 'user', parts: [{text: 'NOTE'}]}]},
    ],
  ])('%s %j is told something as %j', (path, body, told) => {
    const {call, bytes} = read(path, body)
    const sent = JSON.parse(changed(call, bytes, {text: 'NOTE'}).toString()) as object
    expect(sent).toMatchObject(told)
  })

  test('that think keep room for it', () => {
    expect(read('/v1/messages', {thinking: {type: 'enabled', budget_tokens: 1024}}).call.outputFloor).toBe(
      1040,
    )
  })
})

describe('usage and prices', () => {
  test('of Anthropic, cache included, in a stream that says it twice', () => {
    const start = {
      input_tokens: 5,
      cache_read_input_tokens: 100,
      cache_creation_input_tokens: 30,
      output_tokens: 1,
    }
    const cache_creation = {ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20}
    const seen = [
      {type: 'message_start', message: {usage: {...start, cache_creation}}},
      {type: 'content_block_delta', delta: {type: 'text_delta', text: 'hello'}},
      {type: 'message_delta', usage: {output_tokens: 40}},
    ].reduce((sum, event) => see('anthropic', sum, event), nothingSeen)
    const usage = {input: 5, cacheRead: 100, cacheWrite: 10, cacheWriteLong: 20, output: 40}
    expect(seen).toEqual({usage, final: true, written: 5})
    expect(costOf(priceOf('claude-haiku-4-5-20251001', false), usage)).toBe(
      5 * 1000 + 100 * 100 + 10 * 1250 + 20 * 2000 + 40 * 5000,
    )
  })

  test('of OpenAI count cached input once', () => {
    const usage = {input_tokens: 100, output_tokens: 7, input_tokens_details: {cached_tokens: 60}}
    const seen = see('responses', nothingSeen, {type: 'response.completed', response: {usage}})
    expect(seen).toMatchObject({usage: {input: 40, cacheRead: 60, output: 7}, final: true})
  })

  test('that is no number counts as none', () => {
    const usage = {prompt_tokens: -5, completion_tokens: '9', total_tokens: 1e300}
    expect(see('chat', nothingSeen, {usage}).usage).toEqual(noUsage)
  })

  test('a model that nobody knows is never cheaper than its kin; one of one’s own is free', () => {
    for (const [unknown, known] of [
      ['claude-next-9', 'claude-opus-4-1'],
      ['gpt-5.9', 'gpt-5.2'],
      ['gemini-9', 'gemini-3-pro'],
      ['', 'o1-pro'],
    ] as const) {
      const of = (name: string) => costOf(priceOf(name, false), {...noUsage, input: 10, output: 10})
      expect(of(unknown)).toBeGreaterThanOrEqual(of(known))
    }
    expect(costOf(priceOf('llama', true), {...noUsage, output: 1e6})).toBe(0)
  })

  test('the longer name wins, and long input is dearer', () => {
    expect(priceOf('gpt-5-mini-2025', false).output).toBe(2)
    const price = priceOf('models/gemini-2.5-pro', false)
    expect(costOf(price, {...noUsage, input: 300_000})).toBe(300_000 * 2500)
  })
})
