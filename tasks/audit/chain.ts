import {createHash} from 'node:crypto'

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
 */
export class ChainReader {
  private head = GENESIS
  private problem_: string | undefined
  private readonly known: ChainHead | undefined

  /** `known`: a head seen earlier, which has to be part of this chain */
  constructor(known?: ChainHead) {
    this.known = known
  }

  /** Undefined for a line that is no record at all. */
  read(line: string): AuditLine | undefined {
    const record = parse(line)
    if (!record) {
      this.problem_ ??= `line ${this.head.seq + 1} is no record`
      return undefined
    }
    const {seq, prev} = record
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
    return this.problem_
  }
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
