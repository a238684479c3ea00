import {describe, expect, test} from '@jest/globals'
import {compileRules} from '../../../policy/compile.js'
import {compileEgress} from '../../../policy/decide-egress.js'
import {explain} from '../../../policy/explain.js'
import {decideWithRoutes} from '../../../policy/models.js'
import {presetNames} from '../../../policy/presets.js'

const nothing = {presets: [], allow: [], deny: [], audit: [], routes: []}

function decide(preset: string, method: string, url: string): string {
  const settings = {
    egress: nothing,
    repository: {upstream: 'hosted', read: [], mode: 'direct' as const},
  }
  return explain(settings, {presets: [preset]}, method, url).decision
}

describe('presets', () => {
  /** What the client of each really asks for. */
  test.each([
    ['anthropic', 'POST', 'https://api.anthropic.com/v1/messages?beta=true'],
    ['anthropic', 'POST', 'https://api.anthropic.com/v1/messages/count_tokens'],
    ['openai', 'POST', 'https://api.openai.com/v1/responses'],
    ['openai', 'POST', 'https://chatgpt.com/backend-api/codex/responses'],
    [
      'google',
      'POST',
      'https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse',
    ],
    ['npm', 'GET', 'registry.npmjs.org/@types%2fnode'],
    ['npm', 'GET', 'registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz'],
    ['pypi', 'GET', 'https://pypi.org/simple/requests/'],
    ['pypi', 'GET', 'files.pythonhosted.org/packages/ab/cd/requests.whl'],
    ['crates', 'GET', 'index.crates.io/se/rd/serde'],
    ['crates', 'GET', 'static.crates.io/crates/serde/serde-1.0.0.crate'],
    ['go', 'GET', 'proxy.golang.org/golang.org/x/text/@v/list'],
    ['go', 'GET', 'https://sum.golang.org/lookup/golang.org/x/text@v0.3.0'],
    ['maven', 'GET', 'repo.maven.apache.org/maven2/junit/junit/4.13/junit-4.13.pom'],
    ['debian', 'GET', 'http://' + 'deb.debian.org/debian/dists/stable/InRelease'],
    ['read-the-web', 'GET', 'https://example.com/a?b=c'],
  ])('%s lets its client %s %s', (preset, method, url) => {
    expect(decide(preset, method, url)).toBe('allow')
  })

  test.each([
    ['anthropic', 'POST', 'https://api.anthropic.com/v1/files'],
    ['anthropic', 'POST', 'https://api.anthropic.com/v1/messages/batches'],
    ['openai', 'POST', 'https://api.openai.com/v1/files'],
    ['openai', 'POST', 'https://api.openai.com/v1/fine_tuning/jobs'],
    ['google', 'POST', 'https://generativelanguage.googleapis.com/upload/v1beta/files'],
    ['npm', 'PUT', 'registry.npmjs.org/left-pad'],
    ['npm', 'POST', 'registry.npmjs.org/-/npm/v1/tokens'],
    ['npm', 'PUT', 'registry.yarnpkg.com/left-pad'],
    ['pypi', 'POST', 'https://upload.pypi.org/legacy/'],
    ['pypi', 'POST', 'https://pypi.org/legacy/'],
    ['crates', 'PUT', 'https://crates.io/api/v1/crates/new'],
    ['crates', 'DELETE', 'https://crates.io/api/v1/crates/serde/1.0.0/yank'],
    ['maven', 'PUT', 'repo1.maven.org/maven2/a/b/1/b-1.jar'],
    ['debian', 'PUT', 'http://' + 'deb.debian.org/debian/x'],
    ['read-the-web', 'POST', 'https://example.com/'],
    ['read-the-web', 'GET', `https://example.com/?q=${'x'.repeat(2048)}`],
    ['read-the-web', 'GET', 'https://93.184.216.34/'],
    ['read-the-web', 'GET', 'http://example.com/'],
  ])('%s does not let it %s %s', (preset, method, url) => {
    expect(decide(preset, method, url)).toBe('deny')
  })

  test('of registries only read, and every one names hosts of its own', () => {
    for (const name of ['npm', 'pypi', 'crates', 'go', 'maven', 'debian', 'read-the-web']) {
      const rules = compileRules(nothing, [name])
      expect(rules.length).toBeGreaterThan(0)
      for (const {methods} of rules) expect(methods).toEqual(['GET', 'HEAD'])
    }
    for (const name of presetNames.filter((one) => one !== 'read-the-web'))
      for (const {host} of compileRules(nothing, [name])) expect(host).not.toContain('*')
  })

  test('read-the-web is limited in everything that carries data', () => {
    expect(compileRules(nothing, ['read-the-web'])).toMatchObject([
      {
        urlBytes: 2048,
        hosts: expect.any(Number),
        rate: {bytesUp: expect.any(Number), rps: expect.any(Number)},
      },
    ])
  })
})

describe('a route', () => {
  const request = {
    host: 'inference.local',
    port: 443,
    scheme: 'https',
    method: 'GET',
    path: '/metrics',
  } as const
  const decided = (rules: Parameters<typeof compileEgress>[0], over: object = {}) =>
    decideWithRoutes(compileEgress(rules), true, {...request, ...over})

  test('to models opens their API, which no wildcard widens', () => {
    const web = compileRules(nothing, ['read-the-web'])
    expect(decided(web)).toMatchObject({decision: 'deny', reason: 'path_not_allowed'})
    expect(decided(web, {path: '/v1/models'})).toMatchObject({rule: 'route:inference.local'})
    expect(decided([], {method: 'POST', path: '/v1/messages'}).decision).toBe('allow')
    expect(decided([], {method: 'POST', path: '/v1/messages', port: 80, scheme: 'http'}).decision).toBe(
      'deny',
    )
    expect(decided([], {path: '/v1/models', websocket: true}).decision).toBe('deny')
  })

  test('is widened by a rule that names it, and narrowed by any deny', () => {
    const rule = {id: 'r', host: 'inference.local', port: 443, scheme: 'https', paths: ['/metrics']} as const
    expect(decided([{...rule, paths: ['/metrics'], effect: 'allow'}])).toMatchObject({
      rule: 'r',
      decision: 'allow',
    })
    const deny = {id: 'd', host: '*.local', port: 443, scheme: 'https', effect: 'deny'} as const
    expect(decided([deny], {path: '/v1/models'})).toMatchObject({rule: 'd', decision: 'deny'})
  })
})
