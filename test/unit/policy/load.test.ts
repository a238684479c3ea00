import {describe, expect, test} from '@jest/globals'
import {load, problems} from '../../support/config-loading.js'

describe('defaults', () => {
  test('without any file', async () => {
    const settings = await load()
    expect(settings).toMatchObject({
      project: 'shop',
      machine: {driver: 'auto', cpus: 4, memoryBytes: 8 * 2 ** 30, diskBytes: 60 * 2 ** 30},
      cluster: {kind: 'auto'},
      repository: {upstream: 'hosted', read: [], mode: 'direct'},
      task: {
        agent: 'claude',
        image: 'default',
        cpu: 2,
        author: {name: 'cage', email: 'cage@shop.invalid'},
        budget: {},
      },
      egress: {presets: [], allow: [], deny: [], audit: [], routes: []},
      credentials: [],
      git: {
        force: false,
        delete: false,
        tags: [],
        deny: ['ci', '.gitmodules', '**/.gitattributes'],
        author: 'any',
        onFinding: 'deny',
        allow: [],
      },
      network: {resolver: [], hosts: [], allowAddresses: []},
    })
    expect(settings.file).toBeUndefined()
    expect(settings.repository.base).toBeUndefined()
  })

  test('an empty file and one of comments are as good as none', async () => {
    for (const text of ['', '# nothing\n', 'version: 1\n', '---\n'])
      expect((await load(text)).egress).toEqual((await load()).egress)
  })

  test('every field of the documented example is understood', async () => {
    const settings = await load(
      `version: 1
project: shop
machine: { driver: auto, cpus: 4, memory: 8GiB, disk: 60GiB }
cluster: { kind: auto }
repository:
  upstream: https://github.com/org/app
  credential: forge
  read: [https://github.com/org/lib]
  base: main
  mode: direct
task:
  agent: claude
  image: default
  cpu: 2
  memory: 4GiB
  disk: 10GiB
  env: { NODE_ENV: test }
  files: [.env.test]
  setup: ./scripts/setup.sh
  author: "cage <cage@shop.invalid>"
  budget: { tokens: 2000000, usd: 10, time: 4h }
egress:
  presets: [anthropic, npm, pypi]
  allow:
    - { host: api.example.com, port: 443, methods: [GET, HEAD], paths: ["/v1/**"], websocket: false, mcp: { tools: [search] }, rate: { rps: 5, bytesUp: 1MiB } }
  deny: []
  audit: []
credentials:
  - name: anthropic
    from: { env: ANTHROPIC_AUTH_TOKEN }
    inject: { host: api.anthropic.com, header: authorization, template: "Bearer {}" }
    as: ANTHROPIC_AUTH_TOKEN
  - name: forge
    from: { command: [gh, auth, token] }
git:
  push: { force: false, delete: false, tags: [], deny: [ci, ".gitmodules", "**/.gitattributes"], maxBlob: 10MiB }
  secrets: { onFinding: deny }
`,
      'projects: {shop: {credentials: {forge: {command: [gh, auth, token]}}}}',
    )
    expect(settings.egress.allow).toEqual([
      {
        id: 'cage.yaml:allow[0]',
        host: 'api.example.com',
        port: 443,
        scheme: 'https',
        methods: ['GET', 'HEAD'],
        paths: ['/v1/**'],
        mcp: {tools: ['search']},
        rate: {rps: 5, bytesUp: 1048576},
      },
    ])
    expect(settings.task).toMatchObject({
      setup: 'scripts/setup.sh',
      files: ['.env.test'],
      budget: {tokens: 2000000, usd: 10, seconds: 14400},
    })
    expect(settings.credentials).toEqual([
      {
        name: 'anthropic',
        from: [{env: 'ANTHROPIC_AUTH_TOKEN'}],
        inject: {
          host: 'api.anthropic.com',
          port: 443,
          kind: 'header',
          header: 'authorization',
          template: 'Bearer {}',
        },
        as: 'ANTHROPIC_AUTH_TOKEN',
      },
      {name: 'forge', from: [{command: ['gh', 'auth', 'token']}]},
    ])
    expect(settings.baseline.egress.allow).toEqual([])
  })
})

describe('hosts of the dispatcher', () => {
  const upstream = 'repository: {upstream: "https://git.example.com/a.git"}'
  const message = 'git.example.com is reached through the dispatcher'

  test("the operator's rules may not name the upstream of cage.yaml", async () => {
    for (const section of ['defaults', 'projects: {shop']) {
      const rule = '{egress: {allow: [{host: git.example.com}]}}'
      const operator = `${section}: ${rule}${section === 'defaults' ? '' : '}'}`
      const [line = ''] = await problems(upstream, operator)
      expect(line).toMatch(/config\.yaml:1:\d+ .*allow\[0\]\.host: /)
      expect(line).toContain(message)
    }
    await load(upstream, 'projects: {other: {egress: {allow: [{host: git.example.com}]}}}')
  })

  test("rules of cage.yaml may not name the operator's upstream", async () => {
    const [line = ''] = await problems(
      'egress: {allow: [{host: git.example.com}]}',
      `projects: {shop: {${upstream}}}`,
    )
    expect(line).toBe(
      `cage.yaml:1:25 egress.allow[0].host: ${message}: it takes no egress rule, route or credential here`,
    )
  })
})
