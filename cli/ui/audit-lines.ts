import {visible} from '../../core/quote.js'
import type {AuditRecord} from '../../tasks/audit/read.js'

/** One JSON object on one line: who wrote it, then the record's own fields. */
export function auditJson({source, task, record}: AuditRecord): string {
  // JSON leaves to the terminal what drives it with one byte or turns the direction of a text.
  return JSON.stringify({source, ...(task === undefined ? {} : {task}), ...record}).replace(
    /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** `TIME TASK DECISION WHAT: REASON`, every text escaped. */
export function auditLine({source, task, time, record}: AuditRecord): string {
  const decision = word(record, 'decision') ?? word(record, 'phase') ?? '-'
  const what = source === 'sidecar' ? networkText(record) : gitText(record)
  const reason = word(record, 'reason') ?? word(record, 'detail')
  const line = [time, task ?? '-', decision.padEnd(6), what].join('  ')
  return visible(reason === undefined ? line : `${line}: ${reason}`)
}

function networkText(record: Record<string, unknown>): string {
  const {host, port, path, method, kind} = record
  const at = port === undefined ? '' : `:${text(port)}`
  const where = host === undefined ? at : `${text(host)}${at}${text(path ?? '')}`
  return [text(kind ?? '-'), text(method ?? ''), where].filter((part) => part !== '').join(' ')
}

function gitText(record: Record<string, unknown>): string {
  const refs = [...list(record['commands']), ...list(record['refs'])]
    .map((one) => text((one as {ref?: unknown}).ref ?? ''))
    .join(' ')
  return [
    text(record['op'] ?? '-'),
    text(record['repository'] ?? record['repo'] ?? ''),
    refs,
    apiText(record),
  ]
    .filter((part) => part !== '')
    .join(' ')
}

/** Of a request to GitHub's API: what it was, not what it carried. */
function apiText({op, method, template, path, roots}: Record<string, unknown>): string {
  if (op === 'graphql') return list(roots).map(text).join(' ')
  return op === 'rest' ? `${text(method ?? '')} ${text(template ?? path ?? '')}` : ''
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function word(record: Record<string, unknown>, name: string): string | undefined {
  const value = record[name]
  if (Array.isArray(value)) return value.length > 0 ? value.map(text).join(', ') : undefined
  return value === undefined || value === null || value === '' ? undefined : text(value)
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
