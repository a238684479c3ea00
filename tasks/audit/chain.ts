import {createHash} from 'node:crypto'
import {journalKept, journalSegmentBytes} from '../../core/layout.js'

/** Where a chain stood: number and SHA-256 of its last line. */
export interface ChainHead {
  seq: number
  hash: string
}

export const GENESIS: ChainHead = {seq: 0, hash: '0'.repeat(64)}

/** One record as its writer made it: `seq` rises by one, `prev` is the hash of the line before. */
export interface AuditLine {
  line: string
  record: Record<string, unknown>
  /** milliseconds since the epoch; NaN when the record says none */
  time: number
}

/**
 * Follows a hash chain line by line. Both writers (sidecar and dispatcher) chain alike; their records name the time
 * `time` or `ts`. Remembers what does not fit instead of throwing: the records are shown all the same.
 *
 * The dispatcher removes its oldest records when there are too many. A chain may begin after the first record when a
 * later record of it names the last one that is gone, behind as many bytes as the writer keeps: who removes records to
 * hide them would have to write that much.
 */
export class ChainReader {
  private head = GENESIS
  private problem_: string | undefined
  private readonly known: ChainHead | undefined
  private readonly keptBytes: number
  /** the last record that is not here, when the first one is not */
  private gone: ChainHead | undefined
  private bytes = 0

  /** `known`: a head seen earlier, which has to be part of this chain */
  constructor(known?: ChainHead, keptBytes = journalKept * journalSegmentBytes) {
    this.known = known
    this.keptBytes = keptBytes
  }

  /** Undefined for a line that is no record at all. */
  read(line: string): AuditLine | undefined {
    const record = parse(line)
    if (!record) {
      this.problem_ ??= `line ${this.head.seq + 1} is no record`
      return undefined
    }
    const {seq, prev} = record
    if (this.bytes === 0 && typeof seq === 'number' && seq > 1) {
      this.gone = {seq: seq - 1, hash: String(prev)}
      this.head = this.gone
    }
    if (this.gone && this.bytes >= this.keptBytes && saysGone(record, this.gone)) this.gone = undefined
    this.bytes += Buffer.byteLength(line) + 1
    if (seq !== this.head.seq + 1 || prev !== this.head.hash)
      this.problem_ ??= `record ${String(seq)} does not follow from the one before`
    this.head = {seq: typeof seq === 'number' ? seq : this.head.seq + 1, hash: lineHash(line)}
    if (this.known?.seq === this.head.seq && this.known.hash !== this.head.hash)
      this.problem_ ??= `record ${this.head.seq} is not the one that was here before`
    const time = record['time'] ?? record['ts']
    return {line, record, time: typeof time === 'string' ? Date.parse(time) : Number.NaN}
  }

  get last(): ChainHead {
    return this.head
  }

  /** What is wrong with what was read up to now. */
  problem(): string | undefined {
    if (this.problem_ === undefined && this.known !== undefined && this.known.seq > this.head.seq)
      return `it ends at record ${this.head.seq}, but had ${this.known.seq} before`
    if (this.gone) return this.problem_ ?? `it begins after record ${this.gone.seq}`
    return this.problem_
  }
}

function saysGone({op, upTo}: Record<string, unknown>, gone: ChainHead): boolean {
  const {seq, hash} = (upTo ?? {}) as Partial<ChainHead>
  return op === 'journal.dropped' && seq === gone.seq && hash === gone.hash
}

export function lineHash(line: string): string {
  return createHash('sha256').update(line).digest('hex')
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
