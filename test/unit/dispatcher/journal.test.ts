import {createHash} from 'node:crypto'
import {appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {ChainReader} from '../../../tasks/audit/chain.js'
import {Journal, type JournalEntry} from '../../../dispatcher/journal/journal.js'

let folder: string
let time: number
const clock = {now: () => time, sleep: () => Promise.resolve()}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cage-journal-'))
  time = Date.UTC(2026, 0, 1)
})
afterEach(() => rmSync(folder, {recursive: true}))

const open = () => Journal.open(folder, clock)
const event = (op: string, more: Record<string, unknown> = {}): JournalEntry => ({
  phase: 'event',
  op,
  ...more,
})
const read = async (journal: Journal, query = {}) => {
  const lines: string[] = []
  for await (const line of journal.read(query)) lines.push(line)
  return lines
}
const opsOf = (lines: string[]) => lines.map((line) => (JSON.parse(line) as {op: string}).op)

function expectChain(lines: string[]): void {
  let previous = '0'.repeat(64)
  lines.forEach((line, index) => {
    expect(JSON.parse(line)).toMatchObject({seq: index + 1, prev: previous})
    previous = createHash('sha256').update(line).digest('hex')
  })
}

describe('the journal', () => {
  it('chains its lines across restarts and tells its head', async () => {
    const first = await open()
    await first.append(event('one'))
    await first.append(event('two'))
    await first.close()
    const second = await open()
    await Promise.all(['three', 'four', 'five'].map((op) => second.append(event(op))))
    const lines = await read(second)
    expect(opsOf(lines)).toEqual(['one', 'two', 'three', 'four', 'five'])
    expectChain(lines)
    expect(second.head).toEqual({sequence: 5, hash: createHash('sha256').update(lines[4]!).digest('hex')})
    await second.close()
  })

  it('is on disk when append has returned', async () => {
    const journal = await open()
    await journal.append(event('kept'))
    expect(readFileSync(join(folder, '000001.jsonl'), 'utf8')).toMatch(/"op":"kept"}\n$/)
    await journal.close()
  })

  it('drops a line cut short, and only that', async () => {
    const journal = await open()
    await journal.append(event('one'))
    await journal.close()
    appendFileSync(join(folder, '000001.jsonl'), '{"seq":2,"prev":"abc')
    const again = await open()
    await again.append(event('two'))
    const lines = await read(again)
    expect(opsOf(lines)).toEqual(['one', 'two'])
    expectChain(lines)
    await again.close()
  })

  it('goes on in a new segment, with one chain', async () => {
    const journal = await open()
    const filler = 'x'.repeat(1024 * 1024)
    for (let n = 0; n < 34; n++) await journal.append(event(`n${n}`, {filler}))
    expect(readdirSync(folder)).toEqual(['000001.jsonl', '000002.jsonl'])
    await journal.close()
    const again = await open()
    await again.append(event('last'))
    const lines = await read(again)
    expectChain(lines)
    expect(opsOf(lines).at(-1)).toBe('last')
    await again.close()
    truncateSync(join(folder, '000002.jsonl'), 0)
    const third = await open()
    await third.append(event('after'))
    expectChain(await read(third))
    await third.close()
  })

  it('lets the oldest segments go, and the chain says which', async () => {
    const size = {segmentBytes: 500, kept: 2}
    const journal = await Journal.open(folder, clock, size)
    for (let n = 0; n < 40; n++) await journal.append(event(`n${n}`))
    const lines = await read(journal)
    expect(readdirSync(folder)).toHaveLength(3)
    expect(opsOf(lines).at(-1)).toBe('n39')
    const checked = (kept: readonly string[], keptBytes = 2 * 500) => {
      const reader = new ChainReader(undefined, keptBytes)
      for (const line of kept) reader.read(line)
      return reader.problem()
    }
    expect(checked(lines)).toBeUndefined()
    // Who takes more away than that is seen, also when the writer's own word about earlier segments is still there.
    expect(checked(lines.slice(1))).toMatch(/^it begins after record \d+$/)
    expect(checked(lines, 10_000)).toMatch(/^it begins after record/)
    await journal.close()
    const again = await Journal.open(folder, clock, size)
    await again.append(event('after'))
    expect(checked(await read(again))).toBeUndefined()
    await again.close()
  })

  it('answers by task and by time', async () => {
    const journal = await open()
    await journal.append(event('a', {task: 'x'}))
    time += 3600_000
    await journal.append(event('b', {task: 'y'}))
    await journal.append(event('c', {task: 'x'}))
    expect(opsOf(await read(journal, {task: 'x'}))).toEqual(['a', 'c'])
    expect(opsOf(await read(journal, {since: '2026-01-01T00:30:00.000Z'}))).toEqual(['b', 'c'])
    await journal.close()
  })

  it('can be followed until the reader leaves', async () => {
    const journal = await open()
    await journal.append(event('before'))
    const leave = new AbortController()
    const seen: string[] = []
    const following = (async () => {
      for await (const line of journal.read({follow: true, signal: leave.signal})) {
        seen.push(...opsOf([line]))
        if (seen.length === 3) leave.abort()
      }
    })()
    await journal.append(event('during'))
    await journal.append(event('after'))
    await following
    expect(seen).toEqual(['before', 'during', 'after'])
    await journal.close()
  })

  it('keeps one record a line whatever an agent writes', async () => {
    const journal = await open()
    await journal.append(event('x', {reason: 'a\n{"forged":true}\r\u2028\u0000'}))
    const lines = await read(journal)
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0]!)).toMatchObject({reason: 'a\n{"forged":true}\r\u2028\u0000'})
    await journal.close()
  })
})

describe('open intents', () => {
  it('are those without an outcome since the last start', async () => {
    const journal = await open()
    const push = (phase: 'intent' | 'outcome', request: string) =>
      journal.append({phase, op: 'push', request})
    await push('intent', 'lost-before')
    await journal.append(event('start'))
    await push('intent', 'done')
    await push('outcome', 'done')
    await push('intent', 'open')
    expect((await journal.openIntents()).map(({request}) => request)).toEqual(['open'])
    await journal.close()
  })
})

describe('a journal that cannot write', () => {
  it('says so, stays whole, and goes on when it can again', async () => {
    const journal = await open()
    await journal.append(event('one'))
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    await expect(journal.append(event('bad', circular))).rejects.toMatchObject({code: 'JOURNAL_FAILED'})
    await journal.append(event('two'))
    expectChain(await read(journal))
    await journal.close()
    await expect(journal.append(event('three'))).rejects.toMatchObject({code: 'JOURNAL_FAILED'})
  })
})
