import {constants, open, type FileHandle} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, messageOf} from '../../core/errors.js'
import {ledgerFile} from '../../core/layout.js'
import {GENESIS, lineHash, lineOf, parseRecord, type AuditEvent} from './record.js'

const BATCH_BYTES = 256 * 1024
const BATCH_MS = 50
const RETRY_MS = 1000
const MAX_QUEUE_BYTES = 4 * 1024 * 1024
const TAIL_BYTES = 64 * 1024

/** The one way to the disk, so that a test can let it fail. */
export interface LedgerFile {
  write(bytes: Buffer, position: number): Promise<number>
  sync(): Promise<void>
  close(): Promise<void>
}

interface Position {
  seq: number
  hash: string
  size: number
}

/**
 * The audit log: JSON lines with sequence number and hash chain, written in batches. While it cannot be written, or
 * its queue is full, `admitting` is false and no request may start; it heals by itself when writing works again.
 */
export class Ledger {
  readonly #file: LedgerFile
  readonly #now: () => number
  #seq: number
  #hash: string
  #size: number
  #queue: Buffer[] = []
  #queued = 0
  #lost = 0
  #failure: string | undefined
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> | undefined

  constructor(file: LedgerFile, position: Position, now: () => number = Date.now) {
    this.#file = file
    this.#now = now
    this.#seq = position.seq
    this.#hash = position.hash
    this.#size = position.size
  }

  /** Continues the file of the directory. Throws CageError LEDGER_UNUSABLE when it does not end in a record. */
  static async open(directory: string, now: () => number = Date.now): Promise<Ledger> {
    const path = join(directory, ledgerFile)
    let handle: FileHandle | undefined
    try {
      handle = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600)
      const {position, torn} = await endOf(handle)
      const ledger = new Ledger(fileOf(handle), position, now)
      if (torn > 0) {
        const detail = `${torn} bytes of an unfinished line removed`
        ledger.record({kind: 'sidecar', decision: 'allow', reason: 'ledger_repaired', detail})
      }
      return ledger
    } catch (cause) {
      await handle?.close()
      const message = `the audit ledger ${path} cannot be used: ${messageOf(cause)}`
      throw new CageError(message, {code: 'LEDGER_UNUSABLE', cause})
    }
  }

  get admitting(): boolean {
    return this.#failure === undefined && this.#queued < MAX_QUEUE_BYTES
  }

  /** Why nothing is admitted, for health and status. */
  get failure(): string | undefined {
    return this.#failure ?? (this.admitting ? undefined : 'the queue is full')
  }

  get head(): {seq: number; hash: string} {
    return {seq: this.#seq, hash: this.#hash}
  }

  record(event: AuditEvent): void {
    // Requests that were admitted in time may still end; beyond twice the queue their records are counted only.
    if (this.#queued >= 2 * MAX_QUEUE_BYTES) {
      this.#lost++
      return
    }
    if (this.#lost > 0 && this.admitting) {
      const detail = `${this.#lost} records`
      this.#lost = 0
      this.#append({kind: 'sidecar', decision: 'allow', reason: 'records_lost', detail})
    }
    this.#append(event)
  }

  #append(event: AuditEvent): void {
    const time = new Date(this.#now()).toISOString()
    const line = lineOf({seq: this.#seq + 1, time, prev: this.#hash}, event)
    this.#seq++
    this.#hash = lineHash(line)
    const bytes = Buffer.from(`${line}\n`)
    this.#queue.push(bytes)
    this.#queued += bytes.length
    if (this.#queued >= BATCH_BYTES && this.#failure === undefined) void this.flush()
    else this.#schedule(this.#failure === undefined ? BATCH_MS : RETRY_MS)
  }

  #schedule(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.flush()
    }, ms).unref()
  }

  /** Resolves when what was recorded so far is on disk or writing failed. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing
    if (this.#queue.length === 0) return
    this.#writing = this.#writeQueue()
    await this.#writing
  }

  async #writeQueue(): Promise<void> {
    const batch = Buffer.concat(this.#queue)
    this.#queue = []
    let done = 0
    try {
      while (done < batch.length) {
        const written = await this.#file.write(batch.subarray(done), this.#size)
        if (written <= 0) throw new Error('nothing was written')
        done += written
        this.#size += written
      }
      await this.#file.sync()
      this.#failure = undefined
    } catch (error) {
      this.#failure = messageOf(error)
      if (done < batch.length) this.#queue.unshift(batch.subarray(done))
    } finally {
      this.#queued -= done
      this.#writing = undefined
    }
    if (this.#failure !== undefined) this.#retry()
    else if (this.#queue.length > 0) this.#schedule(BATCH_MS)
  }

  #retry(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    // A failed sync leaves nothing to write, so the retry itself must be a record.
    if (this.#queue.length === 0) this.#append({kind: 'sidecar', decision: 'allow', reason: 'ledger_retried'})
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#schedule(RETRY_MS)
  }

  async close(): Promise<void> {
    await this.flush()
    clearTimeout(this.#timer)
    await this.#file.close()
  }
}

function fileOf(handle: FileHandle): LedgerFile {
  return {
    write: async (bytes, position) => (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
    sync: () => handle.datasync(),
    close: () => handle.close(),
  }
}

/** Where to go on. An unfinished last line was never acknowledged and is cut off. */
async function endOf(handle: FileHandle): Promise<{position: Position; torn: number}> {
  const {size} = await handle.stat()
  const start = Math.max(0, size - TAIL_BYTES)
  const tail = Buffer.alloc(size - start)
  await handle.read(tail, 0, tail.length, start)
  const newline = tail.lastIndexOf(10)
  if (newline < 0 && start > 0) throw new Error('its end holds no record')
  const torn = tail.length - (newline + 1)
  if (torn > 0) await handle.truncate(size - torn)
  if (newline < 0) return {position: {seq: 0, hash: GENESIS, size: 0}, torn}
  const line = tail.toString('utf8', tail.lastIndexOf(10, newline - 1) + 1, newline)
  const record = parseRecord(line)
  if (!record) throw new Error('its last line is not a record')
  return {position: {seq: record.seq, hash: lineHash(line), size: size - torn}, torn}
}
