import {appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, jest, test} from '@jest/globals'
import {Ledger, type LedgerFile} from '../../../proxy/audit/ledger.js'
import {readLedger} from '../../../proxy/audit/read.js'
import {brokenLink, GENESIS, parseRecord, type AuditEvent} from '../../../proxy/audit/record.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cage-ledger-'))
})
afterEach(() => {
  jest.useRealTimers()
  rmSync(directory, {recursive: true})
})

const path = () => join(directory, 'audit.jsonl')
const lines = () => readFileSync(path(), 'utf8').split('\n').slice(0, -1)
const event = (reason: string): AuditEvent => ({kind: 'request', decision: 'deny', reason})

describe('the audit ledger', () => {
  test('chains every line to the one before, over a restart too', async () => {
    const first = await Ledger.open(directory)
    first.record(event('one'))
    first.record(event('two'))
    await first.close()
    const second = await Ledger.open(directory)
    second.record(event('three'))
    await second.close()
    expect(lines().map((line) => parseRecord(line)?.reason)).toEqual(['one', 'two', 'three'])
    expect(brokenLink(lines())).toBeUndefined()
    expect(parseRecord(lines()[0]!)).toMatchObject({v: 1, seq: 1, prev: GENESIS})
  })

  test.each([
    ['an edited record', (text: string) => text.replace('"two"', '"owt"'), 2],
    ['a removed record', (text: string) => text.split('\n').toSpliced(1, 1).join('\n'), 1],
    ['a rewritten start', (text: string) => text.split('\n').slice(1).join('\n'), 0],
  ])('shows %s', async (_name, edit, at) => {
    const ledger = await Ledger.open(directory)
    for (const reason of ['one', 'two', 'three']) ledger.record(event(reason))
    await ledger.close()
    expect(brokenLink(edit(readFileSync(path(), 'utf8')).split('\n').slice(0, -1))).toBe(at)
  })

  test('cuts off a line that a crash left unfinished, and says so', async () => {
    const ledger = await Ledger.open(directory)
    ledger.record(event('one'))
    await ledger.close()
    appendFileSync(path(), '{"v":1,"seq":2,"ti')
    const again = await Ledger.open(directory)
    again.record(event('two'))
    await again.close()
    expect(lines().map((line) => parseRecord(line)?.reason)).toEqual(['one', 'ledger_repaired', 'two'])
    expect(brokenLink(lines())).toBeUndefined()
  })

  test('refuses a file whose last line is no record', async () => {
    writeFileSync(path(), 'hello\n')
    await expect(Ledger.open(directory)).rejects.toMatchObject({code: 'LEDGER_UNUSABLE'})
  })

  test('writes one line per event, whatever the texts hold', async () => {
    const ledger = await Ledger.open(directory)
    ledger.record({...event('x\n{"seq":9}\u2028'), path: 'a'.repeat(5000), host: '\u001b]0;x\u0007'})
    await ledger.close()
    expect(lines()).toHaveLength(1)
    expect(parseRecord(lines()[0]!)?.path).toHaveLength(1025)
  })

  test('is read by moment, and followed', async () => {
    let now = Date.parse('2030-01-01T00:00:00Z')
    const ledger = await Ledger.open(directory, () => now)
    ledger.record(event('early'))
    now += 60_000
    ledger.record(event('late'))
    await ledger.flush()
    const read: string[] = []
    for await (const line of readLedger(directory, {since: now})) read.push(parseRecord(line)!.reason)
    expect(read).toEqual(['late'])
    const stop = new AbortController()
    const followed: string[] = []
    for await (const line of readLedger(directory, {follow: true, signal: stop.signal})) {
      followed.push(parseRecord(line)!.reason)
      if (followed.length === 2) {
        ledger.record(event('new'))
        await ledger.flush()
      }
      if (followed.length === 3) stop.abort()
    }
    expect(followed).toEqual(['early', 'late', 'new'])
    await ledger.close()
  })
})

describe('a ledger that cannot be written', () => {
  /** A disk with so many bytes left. */
  function disk(free: number) {
    let content = Buffer.alloc(0)
    const file: LedgerFile = {
      write: (bytes, position) => {
        const room = state.free - position
        if (room <= 0) return Promise.reject(new Error('no space left on device'))
        const written = bytes.subarray(0, room)
        content = Buffer.concat([content.subarray(0, position), written])
        return Promise.resolve(written.length)
      },
      sync: () => (state.synced ? Promise.resolve() : Promise.reject(new Error('input/output error'))),
      close: () => Promise.resolve(),
    }
    const state = {file, free, synced: true, lines: () => content.toString().split('\n').slice(0, -1)}
    return state
  }
  const start = {seq: 0, hash: GENESIS, size: 0}

  test('admits nothing, and goes on in the middle of a line when there is room again', async () => {
    jest.useFakeTimers({doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask']})
    const full = disk(100)
    const ledger = new Ledger(full.file, start)
    ledger.record(event('one'))
    await ledger.flush()
    expect(ledger.admitting).toBe(false)
    expect(ledger.failure).toBe('no space left on device')
    ledger.record(event('two'))
    full.free = 100_000
    await jest.advanceTimersByTimeAsync(1000)
    await ledger.flush()
    expect(ledger.admitting).toBe(true)
    expect(full.lines().map((line) => parseRecord(line)?.reason)).toEqual(['one', 'two'])
    expect(brokenLink(full.lines())).toBeUndefined()
  })

  test('admits nothing while the disk takes bytes but does not keep them', async () => {
    jest.useFakeTimers({doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask']})
    const broken = disk(100_000)
    broken.synced = false
    const ledger = new Ledger(broken.file, start)
    ledger.record(event('one'))
    await ledger.flush()
    expect(ledger.admitting).toBe(false)
    broken.synced = true
    await jest.advanceTimersByTimeAsync(1000)
    await ledger.flush()
    expect(ledger.admitting).toBe(true)
    expect(brokenLink(broken.lines())).toBeUndefined()
  })

  test('admits nothing when the queue is full, and counts what it could not keep', async () => {
    const slow = disk(1e9)
    let release = () => undefined as unknown
    const gate = new Promise<void>((resolve) => (release = resolve))
    const write = slow.file.write.bind(slow.file)
    slow.file.write = async (bytes, position) => {
      await gate
      return write(bytes, position)
    }
    const ledger = new Ledger(slow.file, start)
    while (ledger.admitting) ledger.record({...event('x'), detail: 'y'.repeat(1000)})
    expect(ledger.failure).toBe('the queue is full')
    for (let i = 0; i < 10_000; i++) ledger.record({...event('x'), detail: 'y'.repeat(1000)})
    release()
    await ledger.flush()
    await ledger.flush()
    expect(ledger.admitting).toBe(true)
    ledger.record(event('after'))
    await ledger.close()
    const reasons = slow.lines().map((line) => parseRecord(line)?.reason)
    expect(reasons.slice(-2)).toEqual(['records_lost', 'after'])
    expect(brokenLink(slow.lines())).toBeUndefined()
  })
})
