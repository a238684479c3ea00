import {describe, expect, it} from '@jest/globals'
import {parseCounts} from '../../../tasks/counts.js'

describe('what the agent asked for', () => {
  it('is counted in the pod and read line by line', () => {
    expect(parseCounts('      7 "decision":"deny"\n     12 "kind":"request"\n')).toEqual({
      requests: 12,
      denials: 7,
    })
    const status = '{"ok":true,"result":{"spend":{"tokens":1500,"usd":0.25,"seconds":61},"revision":1}}'
    expect(parseCounts(`${status}\n 1 "kind":"request"\n`)).toEqual({
      requests: 1,
      denials: 0,
      spend: {tokens: 1500, usd: 0.25, seconds: 61},
    })
    expect(parseCounts('{"ok":false}\n')).toEqual({requests: 0, denials: 0})
    expect(parseCounts('')).toEqual({requests: 0, denials: 0})
    expect(parseCounts('evil\n 3 "kind":"requests"\n')).toEqual({requests: 0, denials: 0})
  })
})
