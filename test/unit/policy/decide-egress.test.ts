import {describe, expect, test} from '@jest/globals'
import {compileEgress, decideEgress, type EgressRequest} from '../../../policy/decide-egress.js'
import type {EgressRule} from '../../../policy/grant.js'
import {egressRule} from '../../support/grants.js'

const request = (over: Partial<EgressRequest> = {}): EgressRequest => ({
  host: 'api.example.com',
  port: 443,
  scheme: 'https',
  method: 'GET',
  path: '/v1/items',
  ...over,
})
const decide = (rules: EgressRule[], over: Partial<EgressRequest> = {}) => decideEgress(rules, request(over))

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((item, index) =>
    permutations([...items.slice(0, index), ...items.slice(index + 1)]).map((rest) => [item, ...rest]),
  )
}

describe('sets', () => {
  test('an empty list allows nothing', () => {
    expect(decide([])).toEqual({decision: 'deny', rule: null, reason: 'host_not_allowed', matched: []})
  })

  const rules = [
    egressRule({id: 'a', host: '*.example.com'}),
    egressRule({id: 'b', methods: ['GET']}),
    egressRule({id: 'c', effect: 'audit'}),
    egressRule({id: 'd', effect: 'deny', paths: ['/v1/secret/**']}),
    egressRule({id: 'e', effect: 'deny', methods: ['DELETE']}),
  ]
  test('order never changes a decision', () => {
    const requests = [
      request(),
      request({path: '/v1/secret/x'}),
      request({method: 'DELETE'}),
      request({host: 'other.example.com'}),
      request({host: 'example.com'}),
      request({port: 8443}),
    ]
    const expected = requests.map((one) => decideEgress(rules, one))
    expect(expected.map(({decision}) => decision)).toEqual(['allow', 'deny', 'deny', 'allow', 'deny', 'deny'])
    for (const order of permutations(rules))
      expect(requests.map((one) => decideEgress(order, one))).toEqual(expected)
  })

  test('deny beats allow beats audit', () => {
    const [deny, allow, audit] = (['deny', 'allow', 'audit'] as const).map((effect) =>
      egressRule({id: effect, effect}),
    )
    expect(decide([audit!]).decision).toBe('audit')
    expect(decide([audit!, allow!]).decision).toBe('allow')
    expect(decide([audit!, allow!, deny!]).decision).toBe('deny')
    expect(decide([deny!, audit!])).toMatchObject({decision: 'deny', rule: 'deny', reason: 'denied_by_rule'})
  })

  test('a matcher does not follow later changes of its rules', () => {
    const rule = egressRule({methods: ['GET']})
    const matcher = compileEgress([rule])
    rule.methods!.push('POST')
    rule.host = 'evil.example'
    expect(matcher.decide(request({method: 'POST'})).decision).toBe('deny')
    expect(matcher.decide(request()).decision).toBe('allow')
    expect(Object.isFrozen(matcher)).toBe(true)
  })
})

describe('hosts', () => {
  test.each([
    ['api.example.com', 'api.example.com', true],
    ['api.example.com', 'x.api.example.com', false],
    ['api.example.com', 'evilapi.example.com', false],
    ['*.example.com', 'a.example.com', true],
    ['*.example.com', 'a.b.example.com', true],
    ['*.example.com', 'example.com', false],
    ['*.example.com', 'evilexample.com', false],
    ['*.example.com', 'example.com.evil.net', false],
    ['googleapis.com', 'storage-googleapis.com', false],
  ])('rule %s, host %s: %s', (host, asked, allowed) => {
    const matcher = compileEgress([egressRule({host})])
    expect(matcher.decide(request({host: asked})).decision).toBe(allowed ? 'allow' : 'deny')
    expect(matcher.knowsHost(asked)).toBe(allowed)
  })

  test('a host with nothing but deny rules is not known', () => {
    expect(compileEgress([egressRule({effect: 'deny'})]).knowsHost('api.example.com')).toBe(false)
  })

  test('wildcards do not name a host', () => {
    const matcher = compileEgress([egressRule({host: '*.example.com'}), egressRule({host: 'a.example.com'})])
    expect(matcher.namesHost('a.example.com')).toBe(true)
    expect(matcher.namesHost('b.example.com')).toBe(false)
  })
})

describe('aspects and the reason that names the first that no rule meets', () => {
  const rule = egressRule({methods: ['GET', 'HEAD'], paths: ['/v1/**']})
  test.each([
    [{}, 'allowed'],
    [{path: '/v1/'}, 'allowed'],
    [{method: 'POST'}, 'method_not_allowed'],
    [{method: 'get'}, 'method_not_allowed'],
    [{path: '/v2/items'}, 'path_not_allowed'],
    [{path: '/V1/items'}, 'path_not_allowed'],
    [{path: '/v1'}, 'path_not_allowed'],
    [{port: 80}, 'port_not_allowed'],
    [{scheme: 'http'}, 'port_not_allowed'],
    [{websocket: true}, 'websocket_not_allowed'],
    [{host: 'x.example.com'}, 'host_not_allowed'],
  ] as const)('%j: %s', (over, reason) => expect(decide([rule], over).reason).toBe(reason))

  test('all rules that matched are returned for their rates', () => {
    const rules = [egressRule({id: 'b', rate: {rps: 1}}), egressRule({id: 'a'})]
    expect(decide(rules).matched.map(({id}) => id)).toEqual(['a', 'b'])
    expect(decide(rules).rule).toBe('a')
  })

  test('a deny without websocket covers both, with websocket only those', () => {
    const allow = egressRule({id: 'a', websocket: true})
    expect(decide([allow], {websocket: true}).decision).toBe('allow')
    const only = egressRule({id: 'd', effect: 'deny', websocket: true})
    expect(decide([allow, only], {websocket: true}).decision).toBe('deny')
    expect(decide([allow, only]).decision).toBe('allow')
    expect(decide([allow, egressRule({id: 'd', effect: 'deny'})], {websocket: true}).decision).toBe('deny')
  })
})

describe('MCP', () => {
  const rule = egressRule({paths: ['/mcp'], mcp: {tools: ['search']}})
  const call = (mcp?: EgressRequest['mcp'], method = 'POST') =>
    decide([rule], mcp ? {path: '/mcp', method, mcp} : {path: '/mcp', method}).reason
  test('only the named tool and what a client needs to call it', () => {
    expect(call({method: 'tools/call', tool: 'search'})).toBe('allowed')
    expect(call({method: 'tools/call', tool: 'delete'})).toBe('mcp_not_allowed')
    expect(call({method: 'tools/call'})).toBe('mcp_not_allowed')
    expect(call({method: 'tools/list'})).toBe('allowed')
    expect(call({method: 'resources/read'})).toBe('mcp_not_allowed')
    expect(call()).toBe('mcp_not_allowed')
    expect(call(undefined, 'GET')).toBe('allowed')
    const inspects = (port: number, path: string) =>
      compileEgress([rule]).inspectsMcp({host: 'api.example.com', port, path})
    expect([inspects(443, '/mcp'), inspects(444, '/mcp'), inspects(443, '/v1/x')]).toEqual([
      true,
      false,
      false,
    ])
  })

  test('a deny for one tool leaves the others', () => {
    const rules = [egressRule({id: 'a'}), egressRule({id: 'd', effect: 'deny', mcp: {tools: ['delete']}})]
    const ask = (tool: string) => decide(rules, {method: 'POST', mcp: {method: 'tools/call', tool}}).decision
    expect([ask('delete'), ask('search')]).toEqual(['deny', 'allow'])
  })
})

describe('what no rule can open', () => {
  test('git push outside the dispatcher', () => {
    const rule = egressRule()
    for (const over of [
      {method: 'POST', path: '/org/app.git/git-receive-pack'},
      {path: '/org/app.git/info/refs', query: 'service=git-receive-pack'},
      {path: '/org/app.git/info/refs', query: 'x=1&service=git%2Dreceive-pack'},
    ])
      expect(decide([rule], over)).toMatchObject({decision: 'deny', rule: 'builtin:git-receive-pack'})
    expect(decide([rule], {path: '/org/app.git/info/refs', query: 'service=git-upload-pack'}).decision).toBe(
      'allow',
    )
  })

  test('DNS over HTTPS needs a rule with a path', () => {
    const wide = egressRule({id: 'a'})
    expect(decide([wide], {path: '/dns-query'}).reason).toBe('dns_over_https')
    expect(decide([wide], {method: 'POST', contentType: 'application/dns-message'}).reason).toBe(
      'dns_over_https',
    )
    expect(decide([egressRule({paths: ['/dns-query']})], {path: '/dns-query'}).decision).toBe('allow')
  })
})
