import {describe, expect, it} from '@jest/globals'
import {auditJson, auditLine} from '../../../cli/ui/audit-lines.js'
import type {AuditRecord} from '../../../tasks/audit/read.js'

const ref = 'refs/heads/\u001b[2J\u009b31m\u202etxt\u2028x\u0085y\n{"forged":true}'
const audited = {
  source: 'dispatcher',
  task: 'fix',
  time: '2026-01-01T00:00:00Z',
  record: {phase: 'decision', op: 'push', decision: 'deny', commands: [{ref}]},
} as unknown as AuditRecord
const hostile = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e]/

describe('a record with names that an agent chose', () => {
  it('is one line of JSON that says the same and drives no terminal', () => {
    const line = auditJson(audited)
    expect(line).not.toMatch(hostile)
    expect(JSON.parse(line)).toMatchObject({commands: [{ref}]})
  })

  it('is one line of text', () => {
    expect(auditLine(audited)).not.toMatch(hostile)
  })
})
