import {describe, expect, test} from '@jest/globals'
import {compileGrant, compileRules, taskCredentials, type CompileInput} from '../../../policy/compile.js'
import {decideEgress} from '../../../policy/decide-egress.js'
import {explain} from '../../../policy/explain.js'
import type {OperatorFile, ProjectFile} from '../../../policy/file-types.js'
import {presets} from '../../../policy/presets.js'
import type {AgentNeeds} from '../../../policy/shipped-agents.js'
import {generateGrantKey, newHandle, signGrant, verifyPart} from '../../../policy/sign.js'
import {ruleCovers} from '../../../policy/covers.js'
import {egressRule} from '../../support/grants.js'
import {settingsOf} from '../../support/settings.js'

const claude: AgentNeeds = {
  name: 'claude',
  presets: ['anthropic'],
  credential: {
    name: 'anthropic',
    variable: 'ANTHROPIC_AUTH_TOKEN',
    host: 'api.anthropic.com',
    header: 'authorization',
    template: 'Bearer {}',
  },
}
const shell: AgentNeeds = {name: 'shell', presets: []}

function compiled(project?: ProjectFile, over: Partial<CompileInput> = {}, operator?: OperatorFile) {
  return compileGrant({
    settings: settingsOf(project, operator),
    agent: claude,
    id: 'shop-0a1b2c3d',
    task: 'fix',
    branch: 'fix',
    base: 'main',
    revision: 3,
    dispatcher: {address: '10.96.0.20', port: 443, ca: 'PEM'},
    resolver: ['10.0.2.3'],
    placeholders: {anthropic: 'PLACEHOLDER'},
    ...over,
  })
}

test('the git part names the fork that branches go to', () => {
  const url = 'https://github.com/org/app'
  const fork = 'https://github.com/bot/app.git'
  const {git} = compiled({repository: {upstream: url, mode: 'fork'}}, {fork})
  expect(git.upstream).toEqual({kind: 'github', url, fork})
  expect(git.repository).toBe('org/app.git')
})

test('what the dispatcher holds goes along as fingerprints', () => {
  const issued = [{id: 'github.key', form: 'raw', length: 64, anchor: 1, sha256: 'x'}]
  expect(compiled({}, {issued}).egress.issued).toEqual(issued)
  expect(compiled().egress).not.toHaveProperty('issued')
})

describe('without a cage.yaml', () => {
  const {egress, git, env} = compiled()
  test('the agent reaches its own provider with its own credential, nothing else', () => {
    expect([...new Set(egress.rules.map(({host}) => host))]).toEqual(['api.anthropic.com'])
    expect(egress.credentials).toEqual([
      {
        name: 'anthropic',
        placeholder: 'PLACEHOLDER',
        host: 'api.anthropic.com',
        port: 443,
        inject: {kind: 'header', header: 'authorization', template: 'Bearer {}'},
      },
    ])
    expect(env).toEqual({ANTHROPIC_AUTH_TOKEN: 'PLACEHOLDER'})
    expect(egress.detectors.audit).toEqual(['api.anthropic.com'])
    expect(egress.dispatcher.hosts).toEqual([
      'api.github.com',
      'git.cage.internal',
      'github.com',
      'uploads.github.com',
    ])
  })
  test('a shell reaches nothing at all', () => {
    const {egress: none, env: empty} = compiled(undefined, {agent: shell, placeholders: {}})
    expect([none.rules, none.credentials, none.routes, none.hosts, none.allowAddresses, empty]).toEqual([
      [],
      [],
      [],
      [],
      [],
      {},
    ])
  })
  test('the branch and only the branch can be pushed', () => {
    expect(git).toMatchObject({
      principal: 'task',
      repository: 'shop.git',
      upstream: {kind: 'hosted', url: 'https://git.cage.internal/shop.git'},
      push: {
        refs: ['refs/heads/fix'],
        force: false,
        delete: false,
        tags: [],
        deny: ['ci', '.gitmodules', '**/.gitattributes'],
      },
      secrets: {onFinding: 'deny'},
    })
  })
  test('both parts are what signing and verifying accept', () => {
    const key = generateGrantKey()
    const signed = signGrant(
      {project: 'shop-0a1b2c3d', task: 'fix', revision: 3, handle: newHandle(), egress, git},
      key.privateKeyPem,
    )
    expect(verifyPart(signed.egress, key.publicKeyDer, 'egress')).toEqual(egress)
    expect(verifyPart(signed.git, key.publicKeyDer, 'git')).toEqual(git)
  })
})

describe('upstreams', () => {
  test.each([
    ['https://github.com/org/app', 'github', 'org/app.git'],
    ['https://github.com/org/app.git', 'github', 'org/app.git'],
    ['https://git.example.com/group/sub/app/', 'git', 'group/sub/app.git'],
  ] as const)('%s is %s, %s', (upstream, kind, repository) => {
    const {git, egress} = compiled({repository: {upstream, read: ['https://other.example.com/lib.git']}})
    expect(git.upstream).toEqual({kind, url: upstream})
    expect(git.repository).toBe(repository)
    expect(egress.dispatcher.hosts).toEqual(
      expect.arrayContaining([new URL(upstream).hostname, 'other.example.com', 'git.cage.internal']),
    )
  })
})

describe('rules', () => {
  test('a deny without a port covers every way that something opens', () => {
    const {egress} = settingsOf({
      egress: {
        presets: ['debian'],
        allow: [
          {host: 'a.com', port: 8443},
          {host: 'b.com', port: 8080, scheme: 'http'},
        ],
        deny: [{host: '*.a.com'}, {host: '*.b.com'}],
      },
    })
    const rules = compileRules(egress, egress.presets)
    const ask = (host: string, port: number, scheme: 'https' | 'http') =>
      decideEgress(rules, {host, port, scheme, method: 'GET', path: '/'}).reason
    expect(ask('a.com', 8443, 'https')).toBe('allowed')
    for (const [host, port, scheme] of [
      ['x.a.com', 8443, 'https'],
      ['x.b.com', 8080, 'http'],
      ['x.a.com', 80, 'http'],
      ['x.a.com', 443, 'https'],
    ] as const)
      expect(ask(host, port, scheme)).toBe('denied_by_rule')
  })

  test('a deny of a project reaches into presets', () => {
    const {egress} = settingsOf({
      egress: {presets: ['npm'], deny: [{host: 'registry.npmjs.org', paths: ['/@evil/**']}]},
    })
    const rules = compileRules(egress, egress.presets)
    const ask = (path: string) =>
      decideEgress(rules, {host: 'registry.npmjs.org', port: 443, scheme: 'https', method: 'GET', path})
        .decision
    expect([ask('/left-pad'), ask('/@evil/pkg')]).toEqual(['allow', 'deny'])
  })

  test("presets: registries are read only, the web is the operator's", () => {
    for (const name of ['npm', 'pypi', 'crates', 'go', 'maven', 'debian'])
      for (const rule of presets[name]!.rules) expect(rule.methods).toEqual(['GET', 'HEAD'])
    expect(
      Object.entries(presets)
        .filter(([, preset]) => preset.operatorOnly)
        .map(([name]) => name),
    ).toEqual(['read-the-web'])
    expect(presets['github']!.rules).toEqual([])
    const hosts = Object.entries(presets).flatMap(([name, {rules}]) => rules.map(({id}) => `${name}/${id}`))
    expect(new Set(hosts).size).toBe(hosts.length)
  })

  test('reading the web: any name, short addresses, no addresses by number, no writing', () => {
    const rules = compileRules(settingsOf().egress, ['read-the-web'])
    const ask = (over: object) =>
      decideEgress(rules, {
        host: 'any.example',
        port: 443,
        scheme: 'https',
        method: 'GET',
        path: '/',
        ...over,
      }).reason
    expect(ask({})).toBe('allowed')
    expect(ask({query: 'x'.repeat(2048)})).toBe('url_too_long')
    expect(ask({method: 'POST'})).toBe('method_not_allowed')
    expect(ask({host: '1.1.1.1'})).toBe('host_not_allowed')
    expect(ask({host: '2606:4700::1111'})).toBe('host_not_allowed')
    expect(ask({path: '/dns-query'})).toBe('dns_over_https')
  })

  test('no upload to a model provider, no push to a registry', () => {
    const rules = compileRules(
      settingsOf().egress,
      Object.keys(presets).filter((name) => name !== 'read-the-web'),
    )
    const ask = (method: string, host: string, path: string) =>
      decideEgress(rules, {host, port: 443, scheme: 'https', method, path}).decision
    expect(ask('POST', 'api.anthropic.com', '/v1/messages')).toBe('allow')
    for (const [method, host, path] of [
      ['POST', 'api.anthropic.com', '/v1/files'],
      ['POST', 'api.anthropic.com', '/v1/messages/batches'],
      ['POST', 'api.openai.com', '/v1/files'],
      ['POST', 'generativelanguage.googleapis.com', '/upload/v1beta/files'],
      ['PUT', 'registry.npmjs.org', '/left-pad'],
      ['POST', 'pypi.org', '/legacy/'],
      ['POST', 'upload.pypi.org', '/legacy/'],
      ['PUT', 'crates.io', '/api/v1/crates/new'],
    ] as const)
      expect(ask(method, host, path)).toBe('deny')
  })
})

describe('credentials of a task', () => {
  test("a declared one takes the place of the agent's own", () => {
    const settings = settingsOf({
      credentials: [
        {name: 'anthropic', from: {env: 'X'}, inject: {host: 'llm.example.com', header: 'x-key'}, as: 'X'},
      ],
    })
    expect(taskCredentials(settings, claude).map(({name, inject}) => [name, inject?.host])).toEqual([
      ['anthropic', 'llm.example.com'],
    ])
  })
  test("the operator can say where the agent's own value is", () => {
    const settings = settingsOf(
      {},
      {projects: {shop: {credentials: {anthropic: {command: ['pass', 'anthropic']}}}}},
    )
    expect(taskCredentials(settings, claude)[0]).toMatchObject({
      from: [{command: ['pass', 'anthropic']}],
      as: 'ANTHROPIC_AUTH_TOKEN',
    })
  })
  test('what only the dispatcher uses never reaches a sidecar', () => {
    const {egress, env} = compiled(
      {repository: {credential: 'forge'}, credentials: [{name: 'forge', from: {env: 'FORGE'}}]},
      {placeholders: {forge: 'F', anthropic: 'A'}},
    )
    expect(egress.credentials.map(({name}) => name)).toEqual(['anthropic'])
    expect(JSON.stringify([egress, env])).not.toContain('forge')
  })
  test('every form of injection', () => {
    const place = {host: 'a.com', port: 443}
    const {egress} = compiled(
      {
        credentials: [
          {name: 'b', from: {env: 'B'}, as: 'B', inject: {host: 'a.com', basic: {user: 'u'}}},
          {name: 'j', from: {env: 'J'}, as: 'J', inject: {host: 'a.com', jsonPointer: '/t'}},
          {
            name: 's',
            from: {env: 'S'},
            as: 'S',
            inject: {host: 'a.com', sigv4: {region: 'r', service: 's3'}},
          },
        ],
      },
      {agent: shell, placeholders: {b: 'PB', j: 'PJ', s: 'PS'}},
    )
    expect(egress.credentials).toEqual([
      {name: 'b', placeholder: 'PB', ...place, inject: {kind: 'basic', user: 'u'}},
      {name: 'j', placeholder: 'PJ', ...place, inject: {kind: 'json', pointer: '/t'}},
      {name: 's', placeholder: 'PS', ...place, inject: {kind: 'sigv4', region: 'r', service: 's3'}},
    ])
  })
})

test('the network of the operator goes into the grant', () => {
  const {egress} = compiled(
    {},
    {},
    {
      network: {
        resolver: ['10.0.0.53'],
        upstreamProxy: 'http://proxy.corp:3128',
        hosts: {'r.corp': {address: '10.1.2.3', ca: 'ca.pem'}},
        allowAddresses: ['203.0.113.7/32'],
      },
    },
  )
  expect(egress).toMatchObject({
    resolver: ['10.0.0.53'],
    upstreamProxy: 'http://proxy.corp:3128',
    hosts: [{host: 'r.corp', address: '10.1.2.3', port: 443, ca: 'PEM'}],
    allowAddresses: ['203.0.113.7/32'],
  })
  expect(compiled().egress.resolver).toEqual(['10.0.2.3'])
})

describe('explain', () => {
  const settings = settingsOf({
    egress: {
      presets: ['npm'],
      allow: [{host: 'api.example.com', methods: ['GET'], paths: ['/v1/**']}],
      deny: [{host: 'bad.example.com'}],
      routes: {'inference.local': {url: 'https://1.1.1.1'}},
    },
  })
  const ask = (method: string, url: string) => explain(settings, claude, method, url)
  test.each([
    ['GET', 'https://api.example.com/v1/x', 'allow', 'cage.yaml:allow[0]'],
    ['get', 'API.example.com./v1/../v1/x', 'allow', 'cage.yaml:allow[0]'],
    ['POST', 'https://api.example.com/v1/x', 'deny', null],
    ['GET', 'https://api.example.com/v2', 'deny', null],
    ['GET', 'http://api.example.com/v1/x', 'deny', null],
    ['GET', 'https://bad.example.com/', 'deny', 'cage.yaml:deny[0]'],
    ['GET', 'https://registry.npmjs.org/left-pad', 'allow', 'preset:npm/registry'],
    ['POST', 'https://api.anthropic.com/v1/messages', 'allow', 'preset:anthropic/messages'],
    ['POST', 'https://github.com/x/y.git/git-receive-pack', 'allow', 'builtin:dispatcher'],
    ['POST', 'https://gitlab.com/x/y.git/git-receive-pack', 'deny', 'builtin:git-receive-pack'],
    ['POST', 'https://inference.local/v1/messages', 'allow', 'route:inference.local'],
    ['GET', 'wss://api.example.com/v1/x', 'deny', null],
    ['GET', 'https://127.1/', 'deny', null],
  ] as const)('%s %s: %s by %s', (method, url, decision, rule) => {
    expect(ask(method, url)).toMatchObject({decision, rule})
  })
  test('what no request can have is an error', () => {
    for (const url of [
      '',
      'https://',
      'https://a b/',
      'https://a/%2f',
      'https://u@a/',
      'ftp://a/',
      'https://a:0/',
    ])
      expect(() => ask('GET', url)).toThrow('no request can have')
  })
})

test('a rule covers another only when everything fits', () => {
  const wide = egressRule({host: '*.example.com', methods: ['GET', 'HEAD']})
  const fits = (over: object) =>
    ruleCovers(wide, egressRule({host: 'a.example.com', methods: ['GET'], ...over}))
  expect(fits({})).toBe(true)
  expect(fits({host: '*.a.example.com'})).toBe(true)
  expect(fits({host: '*.example.com'})).toBe(true)
  for (const over of [
    {host: 'example.com'},
    {host: 'evilexample.com'},
    {host: '*.com'},
    {methods: ['POST']},
    {methods: undefined},
    {port: 80},
    {scheme: 'http'},
    {websocket: true},
  ])
    expect(fits(over)).toBe(false)
})
