import {createHash} from 'node:crypto'
import {EventEmitter, on} from 'node:events'
import {mkdir, open, readFile, rm, type FileHandle} from 'node:fs/promises'
import {createInterface} from 'node:readline'
import type {Clock} from '../../core/clock.js'
import {syncDirectory} from '../../core/durable-file.js'
import {CageError, messageOf} from '../../core/errors.js'
import {journalKept, journalSegmentBytes} from '../../core/layout.js'
import {openSegments, pathOf, segmentsOf} from './segments.js'

/** What a record says beside its place in the chain; field names are fixed in docs/reference/audit.md. */
export type JournalEntry = {phase: 'intent' | 'outcome' | 'decision' | 'event'; op: string} & Record<
  string,
  unknown
>

export interface JournalQuery {
  /** ISO 8601; records at or after it */
  since?: string
  task?: string
  /** go on with new records until the signal fires */
  follow?: boolean
  signal?: AbortSignal
}

const GENESIS = '0'.repeat(64)

export interface JournalSize {
  /** a segment that has so many bytes is followed by another */
  segmentBytes: number
  /** full segments that stay; older ones are removed */
  kept: number
}

const SIZE: JournalSize = {segmentBytes: journalSegmentBytes, kept: journalKept}

interface Waiting {
  entry: JournalEntry
  resolve: () => void
  reject: (error: Error) => void
}

/**
 * The record of every decision: JSON lines, each with the SHA-256 of the line before it (`prev`), on disk before
 * `append` resolves. Segments `000001.jsonl` … continue one chain; none is ever rewritten, except that a line cut
 * short by a crash is removed at the next start. When there are too many, the oldest go: the chain says so before, with
 * number and hash of the last record that is gone.
 */
export class Journal {
  readonly #directory: string
  readonly #clock: Clock
  readonly #size: JournalSize
  readonly #appended = new EventEmitter().setMaxListeners(0)
  #file: FileHandle
  #segment: number
  /** bytes of the current segment that are complete and on disk */
  #length: number
  #sequence: number
  #head: string
  #waiting: Waiting[] = []
  #writing = false

  private constructor(
    directory: string,
    clock: Clock,
    size: JournalSize,
    state: SegmentState & {file: FileHandle; segment: number},
  ) {
    this.#directory = directory
    this.#clock = clock
    this.#size = size
    this.#file = state.file
    this.#segment = state.segment
    this.#length = state.length
    this.#sequence = state.sequence
    this.#head = state.head
  }

  static async open(directory: string, clock: Clock, size = SIZE): Promise<Journal> {
    await mkdir(directory, {recursive: true, mode: 0o700})
    const segments = await segmentsOf(directory)
    const segment = segments.at(-1) ?? 1
    const file = await open(pathOf(directory, segment), 'a+', 0o600)
    let state = await readState(pathOf(directory, segment))
    if (state.length === 0 && segments.length > 1) {
      const before = await readState(pathOf(directory, segments.at(-2) ?? 1))
      state = {...before, length: 0}
    }
    await file.truncate(state.length)
    await file.datasync()
    await syncDirectory(directory)
    return new Journal(directory, clock, size, {...state, file, segment})
  }

  /** SHA-256 of the last line: who keeps it elsewhere notices a rewritten chain. */
  get head(): {sequence: number; hash: string} {
    return {sequence: this.#sequence, hash: this.#head}
  }

  /** @throws CageError when the record is not on disk: the caller must deny */
  append(entry: JournalEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({entry, resolve, reject})
      if (!this.#writing) void this.#write()
    })
  }

  /** Lines as they were written, oldest first. */
  async *read(query: JournalQuery = {}): AsyncGenerator<string, void, void> {
    const signal = query.signal
    const follow = query.follow === true ? on(this.#appended, 'line', signal ? {signal} : {}) : undefined
    const last = this.#segment
    const length = this.#length
    const opened = await openSegments(this.#directory)
    try {
      for (const {segment, file} of opened) {
        if (segment > last || (segment === last && length === 0)) continue
        const part = {autoClose: false, ...(segment === last ? {end: length - 1} : {})}
        for await (const line of createInterface({input: file.createReadStream(part), crlfDelay: Infinity})) {
          if (signal?.aborted) return
          if (matches(line, query)) yield line
        }
      }
    } finally {
      for (const {file} of opened) await file.close()
    }
    if (!follow) return
    try {
      for await (const [line] of follow as AsyncIterable<[string]>) if (matches(line, query)) yield line
    } catch (error) {
      if (!signal?.aborted) throw error
    }
  }

  /** Intents without an outcome since the last clean start. */
  async openIntents(): Promise<JournalEntry[]> {
    const open = new Map<unknown, JournalEntry>()
    const segments = await segmentsOf(this.#directory)
    let from = 0
    for (let index = segments.length - 1; index >= 0 && from === 0; index--) {
      const text = await readFile(pathOf(this.#directory, segments[index] ?? 1), 'utf8')
      if (text.includes('"op":"start"')) from = index
    }
    for (const segment of segments.slice(from)) {
      for (const line of (await readFile(pathOf(this.#directory, segment), 'utf8'))
        .split('\n')
        .filter(Boolean)) {
        const record = JSON.parse(line) as JournalEntry
        if (record.phase === 'event' && record.op === 'start') open.clear()
        else if (record.phase === 'intent') open.set(record['request'], record)
        else if (record.phase === 'outcome') open.delete(record['request'])
      }
    }
    return [...open.values()]
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  /** All that waits goes to disk in one write and one sync. */
  async #write(): Promise<void> {
    this.#writing = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0)
      try {
        for (const line of await this.#commit(batch.map(({entry}) => entry)))
          this.#appended.emit('line', line)
        for (const {resolve} of batch) resolve()
      } catch (cause) {
        const error = new CageError(`the audit journal cannot be written: ${messageOf(cause)}`, {
          code: 'JOURNAL_FAILED',
          hints: ['Free space on the dispatcher volume, then try again.'],
          cause,
        })
        for (const {reject} of batch) reject(error)
      }
    }
    this.#writing = false
  }

  async #commit(entries: readonly JournalEntry[]): Promise<string[]> {
    if (this.#length >= this.#size.segmentBytes) await this.#rotate()
    return this.#put(entries)
  }

  async #put(entries: readonly JournalEntry[]): Promise<string[]> {
    let sequence = this.#sequence
    let head = this.#head
    const lines = entries.map((entry) => {
      const line = JSON.stringify({
        seq: ++sequence,
        prev: head,
        ts: new Date(this.#clock.now()).toISOString(),
        ...entry,
      })
      head = sha256(line)
      return line
    })
    const bytes = Buffer.from(`${lines.join('\n')}\n`)
    try {
      await writeWhole(this.#file, bytes)
      await this.#file.datasync()
    } catch (error) {
      await this.#file.truncate(this.#length).catch(() => undefined)
      throw error
    }
    this.#length += bytes.length
    this.#sequence = sequence
    this.#head = head
    return lines
  }

  async #rotate(): Promise<void> {
    const file = await open(pathOf(this.#directory, this.#segment + 1), 'a+', 0o600)
    await syncDirectory(this.#directory)
    await this.#file.close()
    this.#file = file
    this.#segment++
    this.#length = 0
    await this.#dropOldest()
  }

  async #dropOldest(): Promise<void> {
    const segments = await segmentsOf(this.#directory)
    const gone = segments.slice(0, -this.#size.kept - 1)
    const newest = gone.at(-1)
    if (newest === undefined) return
    const {sequence, head} = await readState(pathOf(this.#directory, newest))
    const upTo = {seq: sequence, hash: head}
    for (const line of await this.#put([{phase: 'event', op: 'journal.dropped', upTo}]))
      this.#appended.emit('line', line)
    for (const segment of gone) await rm(pathOf(this.#directory, segment), {force: true})
  }
}

interface SegmentState {
  length: number
  sequence: number
  head: string
}

async function readState(path: string): Promise<SegmentState> {
  const bytes = await readFile(path)
  const length = bytes.lastIndexOf(0x0a) + 1
  if (length === 0) return {length: 0, sequence: 0, head: GENESIS}
  const last = bytes.toString('utf8', bytes.lastIndexOf(0x0a, length - 2) + 1, length - 1)
  const {seq} = JSON.parse(last) as {seq: number}
  return {length, sequence: seq, head: sha256(last)}
}

function matches(line: string, {since, task}: JournalQuery): boolean {
  if (since === undefined && task === undefined) return true
  const record = JSON.parse(line) as {ts: string; task?: string}
  return (since === undefined || record.ts >= since) && (task === undefined || record.task === task)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

async function writeWhole(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done)).bytesWritten
}
