import {describe, expect, it} from '@jest/globals'
import {Metrics} from '../../../proxy/metrics.js'
import {parseCounts} from '../../../tasks/counts.js'

describe('what a sidecar counted', () => {
  it('is read from its metrics as they are written', () => {
    const metrics = new Metrics()
    metrics.add('events_total', {kind: 'request', decision: 'allow', reason: 'allowed'}, 3)
    metrics.add('events_total', {kind: 'request', decision: 'deny', reason: 'no_rule'}, 2)
    metrics.add('events_total', {kind: 'name', decision: 'deny', reason: 'unknown'}, 4)
    metrics.add('bytes_up_total', {kind: 'request'}, 10)
    metrics.add('bytes_down_total', {kind: 'tunnel'}, 20)
    const answer = JSON.stringify({ok: true, result: {text: metrics.text()}})
    expect(parseCounts(answer)).toEqual({requests: 5, denials: 6, bytesUp: 10, bytesDown: 20})
  })

  it('is nothing when the answer is not one', () => {
    for (const answer of ['', '{}', 'null', '{"ok":true,"result":{"text":1}}'])
      expect(parseCounts(answer)).toBeUndefined()
  })
})
