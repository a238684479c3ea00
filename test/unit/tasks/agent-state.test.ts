import {describe, expect, it} from '@jest/globals'
import {BoundedText, parseAgentState} from '../../../tasks/agent-state.js'
import {parseCounts} from '../../../tasks/unsaved-work.js'

describe('the agent’s own file', () => {
  it.each([
    ['{"state":"working","exitCode":null}', {state: 'working', exitCode: null}],
    ['{"state":"done","exitCode":0}   \n', {state: 'done', exitCode: 0}],
    ['{"state":"failed","exitCode":137}', {state: 'failed', exitCode: 137}],
    ['{"state":"failed","exitCode":null}', {state: 'failed', exitCode: null}],
    ['{"state":"working","exitCode":3,"more":1}', {state: 'working', exitCode: null}],
    ['{"state":"done","exitCode":"0"}', {state: 'done', exitCode: null}],
    ['{"state":"done","exitCode":1e9}', {state: 'done', exitCode: null}],
  ])('%s', (text, expected) => {
    expect(parseAgentState(text)).toEqual(expected)
  })

  it.each([
    '',
    'null',
    '[]',
    '{}',
    '{"state":"evil\\u001b[31m"}',
    '{"state":',
    '"working"',
    '{"state":{"a":1}}',
  ])('says nothing: %s', (text) => {
    expect(parseAgentState(text)).toBeUndefined()
  })
})

describe('what is not upstream', () => {
  it('is two numbers or nothing', () => {
    expect(parseCounts('3\n12\n')).toEqual({commits: 3, files: 12})
    expect(parseCounts('0\n       0\n')).toEqual({commits: 0, files: 0})
    for (const text of ['', '3', '3\nx\n', '-1\n2\n', '1\n2\n3\n', '\u001b[31m3\n1\n'])
      expect(parseCounts(text)).toBeUndefined()
  })
})

describe('bounded text', () => {
  it('keeps the beginning', () => {
    const text = new BoundedText(5)
    text.write('abc')
    text.write('defg')
    text.write('hij')
    expect(text.text).toBe('abcde')
  })
})
