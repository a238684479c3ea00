import {expect, test} from '@jest/globals'
import type {AuditEvent} from '../../../proxy/audit/record.js'
import type {Ledger} from '../../../proxy/audit/ledger.js'
import {Metrics} from '../../../proxy/metrics.js'
import {Records} from '../../../proxy/records.js'

test('counters, times and what is read are in the text format of Prometheus', () => {
  const metrics = new Metrics()
  metrics.add('a_total', {reason: 'x'})
  metrics.add('a_total', {reason: 'x'}, 2)
  metrics.observe('seconds', 0.02)
  metrics.observe('seconds', 100)
  let running = 1
  metrics.gauge('running', () => running)
  running = 3
  expect(metrics.text()).toBe(
    [
      '# TYPE cage_a_total counter',
      'cage_a_total{reason="x"} 3',
      '# TYPE cage_running gauge',
      'cage_running 3',
      '# TYPE cage_seconds histogram',
      ...['0.005', '0.025', '0.1', '0.5', '2.5', '10', '60', '+Inf'].map(
        (le, index) => `cage_seconds_bucket{le="${le}"} ${index === 0 ? 0 : le === '+Inf' ? 2 : 1}`,
      ),
      'cage_seconds_sum 100.02',
      'cage_seconds_count 2',
      '',
    ].join('\n'),
  )
})

test('a label cannot write lines of its own, and their number has a ceiling', () => {
  const metrics = new Metrics()
  metrics.add('a_total', {rule: 'x"} 1\ncage_b_total 7'})
  for (let n = 0; n < 5000; n++) metrics.add('c_total', {rule: String(n)})
  const lines = metrics.text().split('\n')
  expect(lines.filter((line) => line.startsWith('cage_b_total'))).toEqual([])
  expect(lines.filter((line) => line.startsWith('cage_c_total')).length).toBe(1000)
})

test('records are counted by decision, reason and rule, never by what an agent chooses', () => {
  const metrics = new Metrics()
  const written: AuditEvent[] = []
  const ledger = {record: (event: AuditEvent) => written.push(event)} as unknown as Ledger
  const records = new Records(ledger, metrics)
  for (let n = 0; n < 50; n++) {
    records.write({
      kind: 'request',
      decision: 'allow',
      reason: 'allowed',
      rule: 'npm',
      host: `host-${n}.test`,
      path: `/path-${n}`,
      ms: 20,
      findings: [{rule: 'github-token', place: 'body'}],
    })
  }
  const text = metrics.text()
  expect(written).toHaveLength(50)
  expect(text).toContain('cage_events_total{kind="request",decision="allow",reason="allowed"} 50')
  expect(text).toContain('cage_rule_decisions_total{decision="allow",rule="npm"} 50')
  expect(text).toContain('cage_findings_total{rule="github-token",place="body"} 50')
  expect(text).toContain('cage_request_seconds_count 50')
  expect(text).not.toMatch(/host-|path-/)
})
