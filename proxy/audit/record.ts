import {hash} from 'node:crypto'

/** What happened, without secrets: no header values, bodies, queries or found texts. */
export interface AuditEvent {
  /** `request`: one HTTP exchange · `tunnel`: one WebSocket · `connection`: refused before HTTP · `name`: DNS · `grant`, `sidecar`: its own life */
  kind: 'request' | 'tunnel' | 'connection' | 'name' | 'grant' | 'sidecar'
  decision: 'allow' | 'deny' | 'audit'
  /** what would have been done without an audit rule or audited detector */
  would?: 'deny'
  reason: string
  rule?: string | null
  requestId?: string
  host?: string
  port?: number
  method?: string
  /** canonical, without query; absent when it held something that must not be written down */
  path?: string
  /** of the response to the agent */
  status?: number
  /** where it was sent: `direct`, `dispatcher`, `route` */
  to?: string
  /** the vetted address that was dialled */
  address?: string
  /** names of substituted credentials */
  credentials?: string[]
  findings?: {rule: string; place: string; sha256?: string}[]
  /** what a call to a model came to; estimated when the provider did not say it */
  usage?: {model: string; input: number; output: number; usd: number; estimated?: boolean}
  /** percent of the budget that the agent was told is used */
  told?: number
  bytesUp?: number
  bytesDown?: number
  ms?: number
  /** of the grant in force */
  revision?: number
  detail?: string
}

/** One line of the ledger. `prev` is the hex SHA-256 of the line before, without its newline; zeros in the first. */
export interface AuditRecord extends AuditEvent {
  v: 1
  seq: number
  /** ISO 8601, UTC */
  time: string
  prev: string
}

export const GENESIS = '0'.repeat(64)
const MAX_TEXT = 1024

export function lineHash(line: string): string {
  return hash('sha256', line)
}

/** The record as its line, texts of bounded length; JSON escapes the rest. */
export function lineOf(
  {seq, time, prev}: Pick<AuditRecord, 'seq' | 'time' | 'prev'>,
  event: AuditEvent,
): string {
  const whole = JSON.stringify(event)
  // What is short as a whole holds nothing too long.
  const text = whole.length <= MAX_TEXT ? whole : JSON.stringify(event, boundedText)
  return `{"v":1,"seq":${seq},"time":"${time}","prev":"${prev}",${text.slice(1)}`
}

function boundedText(_key: string, value: unknown): unknown {
  return typeof value === 'string' && value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value
}

/** The index of the first line that does not follow from the one before, or undefined. */
export function brokenLink(
  lines: readonly string[],
  start: {seq: number; hash: string} = {seq: 0, hash: GENESIS},
): number | undefined {
  let {seq, hash} = start
  for (const [index, line] of lines.entries()) {
    const record = parseRecord(line)
    if (record?.seq !== seq + 1 || record.prev !== hash) return index
    seq = record.seq
    hash = lineHash(line)
  }
  return undefined
}

export function parseRecord(line: string): AuditRecord | undefined {
  try {
    const record = JSON.parse(line) as AuditRecord
    return Number.isSafeInteger(record.seq) &&
      typeof record.prev === 'string' &&
      typeof record.time === 'string'
      ? record
      : undefined
  } catch {
    return undefined
  }
}
