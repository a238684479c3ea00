import {symlinkSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {afterEach, describe, expect, test} from '@jest/globals'
import {createAuthority, parseAuthority} from '../../../core/certificates/authority.js'
import type {CageError} from '../../../core/errors.js'
import {loadProject, type ProjectSettings} from '../../../policy/load.js'
import {configFolder} from '../../support/config-files.js'

let made: ReturnType<typeof configFolder>[] = []
afterEach(() => {
  for (const folder of made) folder.remove()
  made = []
})

function folderOf(project?: string, operator?: string, others?: Record<string, string>) {
  const folder = configFolder({
    ...(project === undefined ? {} : {project}),
    ...(operator === undefined ? {} : {operator}),
    ...(others ? {others} : {}),
  })
  made.push(folder)
  return folder
}
const load = (
  project?: string,
  operator?: string,
  others?: Record<string, string>,
): Promise<ProjectSettings> => loadProject(folderOf(project, operator, others).options)

async function failure(project?: string, operator?: string): Promise<CageError> {
  try {
    await load(project, operator)
  } catch (error) {
    return error as CageError
  }
  throw new Error('accepted')
}
const problems = async (project?: string, operator?: string) => {
  const {code, exitCode, message} = await failure(project, operator)
  expect([code, exitCode]).toEqual(['CONFIG_INVALID', 2])
  return message.split('\n')
}

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

describe('every problem at once, with its place', () => {
  test('kinds of problems', async () => {
    expect(
      await problems(`version: 2
projcet: x
machine:
  cpus: four
  memory: 8 gigs
task: { env: { "1X": y, NODE_ENV: 3 }, agent: cursor }
egress:
  presets: [npn, npm]
  allow:
    - { host: "*.com" }
    - { port: 70000 }
    - { host: github.com, paths: ["/../x", "v1"] }
credentials:
  - { name: a, inject: { host: api.github.com, header: authorization } }
`),
    ).toEqual([
      'cage.yaml:1:10 version: expected 1, got 2',
      'cage.yaml:2:1 projcet: unknown key, did you mean project?',
      'cage.yaml:4:9 machine.cpus: expected a whole number, got "four"',
      'cage.yaml:5:11 machine.memory: expected a size such as 8GiB or 500MB, got "8 gigs"',
      'cage.yaml:6:16 task.env."1X": as a name expected the name of an environment variable',
      'cage.yaml:6:35 task.env.NODE_ENV: expected a text, got 3',
      'cage.yaml:6:47 task.agent: expected claude, codex, gemini, pi or shell, got "cursor"',
      'cage.yaml:8:13 egress.presets[0]: no preset "npn", did you mean npm?',
      'cage.yaml:10:15 egress.allow[0].host: a wildcard needs at least two labels behind it, got "*.com"',
      'cage.yaml:11:7 egress.allow[1].host: is missing',
      'cage.yaml:11:15 egress.allow[1].port: expected 65535 or less, got 70000',
      'cage.yaml:12:15 egress.allow[2].host: github.com is reached through the dispatcher: it takes no egress rule, route or credential here',
      'cage.yaml:12:35 egress.allow[2].paths[0]: no request can have this path, got "/../x"',
      'cage.yaml:12:44 egress.allow[2].paths[1]: expected a path that starts with /, got "v1"',
      'cage.yaml:14:5 credentials[0].as: is missing: the agent needs a variable that holds the placeholder',
      'cage.yaml:14:32 credentials[0].inject.host: api.github.com is reached through the dispatcher: it takes no egress rule, route or credential here',
    ])
  })

  test('both files in one go', async () => {
    const {message} = await failure('machin: {}\n', 'defaults: {task: {agent: 7}}\nceilin: {}\n')
    const lines = message.split('\n')
    expect(lines).toHaveLength(3)
    expect(lines.filter((line) => line.includes('config.yaml:'))).toEqual([
      expect.stringMatching(/config\.yaml:1:26 defaults\.task\.agent: expected a text, got 7$/),
      expect.stringMatching(/config\.yaml:2:1 ceilin: unknown key, did you mean ceiling\?$/),
    ])
  })

  test.each([
    ['a: b: c\n', 'cage.yaml:1:'],
    ['- a\n', 'expected a mapping, got a list'],
    ['just text\n', 'expected a mapping, got "just text"'],
    ['version: 1\nversion: 1\n', 'unique'],
    ['a: &x [1]\nb: *x\n', 'aliases'],
    ['a: &x 1\n', 'anchors'],
    ['<<: {version: 1}\n', 'unknown key'],
    ['version: !!js/function "x"\n', 'cage.yaml:1:'],
    ['--- {}\n--- {}\n', 'cage.yaml:'],
    ['a: "\0"\n', 'UTF-8'],
    [`${'['.repeat(5000)}${']'.repeat(5000)}`, 'nested'],
    [`${'- '.repeat(5000)}x\n`, 'nested'],
    [Array.from({length: 300}, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'), 'nested'],
    [`# ${'x'.repeat(300_000)}\n`, 'larger than'],
    ['__proto__: {version: 1}\n', 'unknown key'],
    ['constructor: 1\n', 'unknown key'],
    ['? [a]\n: 1\n', 'cage.yaml:1:'],
  ])('%#: no tricks of YAML', async (text, message) => {
    expect((await problems(text)).join('\n')).toContain(message)
  })

  test('what a file says is shown without control characters', async () => {
    const [line] = await problems('project: "a\\e[31mb\\u202e"\n')
    expect(line).toContain('project: expected lower-case letters')
    expect(line).not.toMatch(/[\u001b\u202e]/)
  })

  test.each([
    ['egress: {allow: [{host: 10.0.0.1}]}', 'private address'],
    ['egress: {allow: [{host: "127.1"}]}', 'loopback address'],
    ['egress: {allow: [{host: "169.254.169.254"}]}', 'metadata address'],
    ['egress: {allow: [{host: "[::ffff:10.0.0.1]"}]}', 'private address'],
    ['egress: {allow: [{host: "a.com:443"}]}', 'expected a host'],
    ['egress: {allow: [{host: "https://a.com"}]}', 'expected a host'],
    ['egress: {allow: [{host: "a.com/x"}]}', 'expected a host'],
    ['egress: {allow: [{host: "a.com;rm -rf /"}]}', 'expected a host'],
    ['egress: {allow: [{host: "*"}]}', 'expected a host'],
    ['egress: {allow: [{host: "*.*.com"}]}', 'expected a host'],
    ['egress: {allow: [{host: git.cage.internal}]}', 'dispatcher'],
    ['egress: {deny: [{host: GitHub.com.}]}', 'dispatcher'],
    ['egress: {audit: [{host: uploads.github.com}]}', 'dispatcher'],
    ['egress: {allow: [{host: a.com, methods: [CONNECT]}]}', 'CONNECT'],
    ['egress: {allow: [{host: a.com, methods: []}]}', 'empty list'],
    ['egress: {allow: [{host: a.com, paths: ["/a/../b"]}]}', 'write /b'],
    ['egress: {allow: [{host: a.com, paths: ["/a**"]}]}', 'alone between slashes'],
    ['egress: {allow: [{host: a.com, rate: {bytesUp: 1}}]}', 'expected a text'],
    ['egress: {routes: {inference: {url: "https://1.1.1.1"}}}', 'a name such as inference.local'],
    ['egress: {routes: {inference.local: {url: "http://1.1.1.1"}}}', 'https://'],
    ['egress: {routes: {inference.local: {url: "https://u:p@1.1.1.1"}}}', 'https://'],
    ['egress: {routes: {inference.local: {url: "https://llm.corp"}}}', 'needs an address'],
    ['egress: {routes: {inference.local: {url: "https://169.254.169.254"}}}', 'never be opened'],
    ['egress: {routes: {inference.local: {url: "https://127.0.0.1:8443"}}}', 'never be opened'],
    ['egress: {presets: [npm, npm]}', 'twice'],
    ['repository: {upstream: "git@github.com:o/r"}', '`hosted` or an https'],
    ['repository: {upstream: "https://10.0.0.1/x.git"}', 'public host'],
    ['repository: {upstream: "https://git.example.com:8443/x.git"}', 'under network.hosts'],
    ['repository: {read: ["https://git.example.com/a/../x.git"]}', 'address of a repository'],
    ['repository: {read: ["https://git.example.com/"]}', 'address of a repository'],
    ['repository: {credential: nobody}', 'no credential has this name'],
    ['repository: {base: "a..b"}', 'contains ..'],
    ['repository: {upstream: hosted, mode: fork}', 'an upstream at github.com for forks'],
    ['repository: {upstream: "https://github.com.evil.com/a/b", mode: fork}', 'at github.com for forks'],
    [
      'repository: {upstream: "https://git.example.com/a.git"}\negress: {allow: [{host: git.example.com}]}',
      'dispatcher',
    ],
    [
      'repository: {read: ["https://git.example.com/a.git"]}\ncredentials: [{name: a, from: {env: X}, as: X, inject: {host: git.example.com, header: x-a}}]',
      'dispatcher',
    ],
    ['task: {files: [../x]}', 'inside the repository'],
    ['task: {files: [/etc/passwd]}', 'inside the repository'],
    ['task: {files: ["~/.ssh/id"]}', 'inside the repository'],
    ['task: {files: [a/.GIT/config]}', '.git'],
    ['task: {setup: ../x.sh}', 'inside the repository'],
    ['task: {env: {CAGE_X: y}}', 'belongs to cage'],
    ['task: {budget: {time: 4 hours}}', 'a duration'],
    ['task: {author: "x"}', 'Name <mail@address>'],
    ['git: {push: {tags: ["a b"]}}', 'expected a tag'],
    ['git: {push: {deny: [/a]}}', 'slash'],
    ['git: {push: {deny: [""]}}', 'empty'],
    ['git: {secrets: {onFinding: ignore}}', 'deny, hold or warn'],
    ['credentials: [{name: a, from: {}}]', 'needs one of'],
    ['credentials: [{name: a, from: {env: A, dotenv: B}}]', 'exactly one'],
    ['credentials: [{name: a, from: {env: A}}, {name: a, from: {env: B}}]', 'twice'],
    ['credentials: [{name: a, as: A, inject: {host: a.com}}]', 'exactly one of header'],
    [
      'credentials: [{name: a, as: A, inject: {host: a.com, header: x, basic: {user: u}}}]',
      'header and basic',
    ],
    ['credentials: [{name: a, as: A, inject: {host: "*.a.com", header: x}}]', 'one exact host'],
    ['credentials: [{name: a, as: A, inject: {host: a.com, header: Host}}]', 'cannot carry'],
    ['credentials: [{name: a, as: A, inject: {host: a.com, header: "x y"}}]', 'name of a header'],
    ['credentials: [{name: a, as: A, inject: {host: a.com, header: x, template: "Bearer"}}]', 'exactly once'],
    ['project: Shop', 'lower-case'],
  ])('%s', async (text, message) => {
    expect((await problems(text)).join('\n')).toContain(message)
  })

  test.each([
    ['network: {allowAddresses: ["10.0.0.0/"]}', 'prefix written out'],
    ['network: {allowAddresses: ["10.0.0.0/8"]}', '/28'],
    ['network: {allowAddresses: ["fd00::/32"]}', '/124'],
    ['network: {allowAddresses: ["127.0.0.1/32"]}', 'never be opened'],
    ['network: {hosts: {a.corp: {address: 169.254.169.254}}}', 'never be opened'],
    ['network: {hosts: {a.corp: {address: b.corp}}}', 'IP address'],
    ['network: {hosts: {A.corp: {address: 10.0.0.1}}}', 'host name in lower case'],
    ['network: {hosts: {a.corp: {address: 10.0.0.1, ca: x.pem}}}', 'absolute path'],
    ['network: {hosts: {a.corp: {address: 10.0.0.1, ca: /nowhere/x.pem}}}', 'not a readable PEM'],
    ['network: {resolver: [dns.corp]}', 'address or address:port'],
    ['network: {upstreamProxy: "socks://x"}', 'http://host:port'],
    ['projects: {shop: {cluster: {kubeconfig: ./kube}}}', 'absolute path'],
    ['ceiling: {egress: {presets: [nmp]}}', 'no preset'],
    ['projects: {Shop: {}}', 'name of a project'],
    ['github: {app: 1}', 'is missing'],
  ])('operator: %s', async (text, message) => {
    expect((await problems(undefined, text)).join('\n')).toContain(message)
  })

  test('cage.yaml may not be a link', async () => {
    const {options, folder} = folderOf()
    writeFileSync(join(folder, 'real.yaml'), 'version: 1\n')
    symlinkSync('real.yaml', join(folder, 'cage.yaml'))
    await expect(loadProject(options)).rejects.toThrow('not a regular file')
  })

  test('a name that no project can have', async () => {
    const {options} = folderOf('version: 1\n')
    await expect(loadProject({...options, defaultName: undefined})).rejects.toThrow(
      /cage\.yaml:1:1 project: is missing/,
    )
    const bare = folderOf().options
    await expect(loadProject({...bare, defaultName: undefined})).rejects.toThrow('project')
  })
})

describe('who may say what', () => {
  const excess = async (project: string, operator?: string) => {
    const {code, exitCode, message, hints} = await failure(project, operator)
    expect([code, exitCode]).toEqual(['ABOVE_CEILING', 4])
    return {message, hints: hints.join('\n')}
  }

  test.each([
    [
      'machine: {driver: local}',
      'cage.yaml:1:19 machine.driver',
      'projects: {shop: {machine: {driver: local}}}',
    ],
    ['machine: {driver: ssh}', 'machine.driver', 'projects: {shop: {machine: {driver: ssh}}}'],
    [
      'machine: {ssh: {host: me@server}}',
      'machine.ssh',
      'projects: {shop: {machine: {ssh: {"host":"me@server"}}}}',
    ],
    [
      'cluster: {kind: existing, kubeconfig: ~/.kube/x}',
      'cluster.kubeconfig',
      'projects: {shop: {cluster: {kubeconfig:',
    ],
    [
      'credentials: [{name: a, from: {command: [id]}}]',
      'credentials[0].from.command',
      '{a: {"command":["id"]}}',
    ],
    [
      'credentials: [{name: a, from: {file: ~/.netrc}}]',
      'credentials[0].from.file',
      '{a: {"file":"~/.netrc"}}',
    ],
    ['egress: {presets: [read-the-web]}', 'egress.presets[0]', 'presets: [read-the-web]'],
    [
      'egress: {routes: {a.local: {url: "https://192.168.1.20:8443"}}}',
      'routes."a.local".url',
      'routes: ["https://192.168.1.20:8443"]',
    ],
  ])('%s needs the operator', async (text, place, line) => {
    const {message, hints} = await excess(text)
    expect(message).toContain(place)
    expect(hints).toContain(line)
    expect(hints).toMatch(/add to .*config\.yaml/)
  })

  test('each line that a refusal names lifts it', async () => {
    for (const text of [
      'machine: {driver: local}',
      'machine: {ssh: {host: me@server}}',
      'credentials: [{name: a, from: {command: [id]}}]',
      'egress: {presets: [read-the-web]}',
      'egress: {routes: {a.local: {url: "https://192.168.1.20:8443"}}}',
    ]) {
      const {hints} = await excess(text)
      const line = /config\.yaml: (.*)$/m.exec(hints)?.[1]
      await expect(load(text, line)).resolves.toBeDefined()
    }
    const ceiling = 'ceiling: {egress: {presets: [npm], hosts: ["*.example.com"]}, credentials: []}'
    const first = await excess('egress: {presets: [pypi]}', ceiling)
    expect(first.hints).toContain('ceiling: {egress: {presets: [npm, pypi]}}')
  })

  test('the ceiling bounds presets, hosts, routes and credentials', async () => {
    const ceiling =
      'ceiling: {egress: {presets: [npm], hosts: ["*.example.com", api.corp.com], routes: ["https://192.168.1.20:8443"]}, credentials: [{name: a, from: [env], hosts: [api.corp.com]}]}'
    await load(
      'egress: {presets: [npm], allow: [{host: x.example.com}, {host: "*.y.example.com"}, {host: api.corp.com}]}',
      ceiling,
    )
    await load('egress: {routes: {a.local: {url: "https://192.168.1.20:8443/"}}}', ceiling)
    await load(
      'credentials: [{name: a, from: {env: A}, as: A, inject: {host: api.corp.com, header: x-a}}]',
      ceiling,
    )
    for (const text of [
      'egress: {presets: [pypi]}',
      'egress: {allow: [{host: example.com}]}',
      'egress: {allow: [{host: evilexample.com}]}',
      'egress: {audit: [{host: other.net}]}',
      'egress: {allow: [{host: "*.corp.com"}]}',
      'egress: {routes: {a.local: {url: "https://192.168.1.20:8444"}}}',
      'egress: {routes: {a.local: {url: "https://1.1.1.1"}}}',
      'credentials: [{name: a, from: {dotenv: A}, as: A, inject: {host: api.corp.com, header: x-a}}]',
      'credentials: [{name: a, from: {env: A}, as: A, inject: {host: x.example.com, header: x-a}}]',
      'credentials: [{name: b, from: {env: A}}]',
    ])
      await excess(text, ceiling)
    await load('egress: {deny: [{host: anything.net}]}', ceiling)
  })

  test('the operator wins over cage.yaml, which wins over the defaults of the operator', async () => {
    const operator =
      'defaults: {machine: {cpus: 2, memory: 2GiB}, task: {agent: shell}}\nprojects: {shop: {machine: {memory: 16GiB}}}'
    const settings = await load('machine: {cpus: 8, memory: 4GiB}', operator)
    expect(settings.machine).toMatchObject({cpus: 8, memoryBytes: 16 * 2 ** 30})
    expect(settings.task.agent).toBe('shell')
    expect((await load('project: other', operator)).machine.memoryBytes).toBe(2 * 2 ** 30)
  })

  test('a budget of the operator can only be made smaller', async () => {
    const operator = 'defaults: {task: {budget: {usd: 5, tokens: 100}}}'
    expect((await load('task: {budget: {usd: 50, tokens: 10, time: 1h}}', operator)).task.budget).toEqual({
      usd: 5,
      tokens: 10,
      seconds: 3600,
    })
    const lifted = `${operator}\nprojects: {shop: {task: {budget: {usd: 20}}}}`
    expect((await load('task: {budget: {usd: 50}}', lifted)).task.budget.usd).toBe(20)
  })

  test('egress of all layers adds up', async () => {
    const operator =
      'defaults: {egress: {deny: [{host: bad.com}]}}\nprojects: {shop: {egress: {allow: [{host: own.com}], presets: [pypi]}}}'
    const {egress, baseline} = await load(
      'egress: {presets: [npm], allow: [{host: API.example.com., port: 80}]}',
      operator,
    )
    expect(egress.presets).toEqual(['npm', 'pypi'])
    expect(egress.allow.map(({id, host, port, scheme}) => [id, host, port, scheme])).toEqual([
      ['cage.yaml:allow[0]', 'api.example.com', 80, 'http'],
      ['config.yaml:projects.shop.allow[0]', 'own.com', 443, 'https'],
    ])
    expect(egress.deny).toEqual([{id: 'config.yaml:defaults.deny[0]', host: 'bad.com'}])
    expect(baseline.egress.allow.map(({host}) => host)).toEqual(['own.com'])
  })

  test('files of the operator never lie in the repository', async () => {
    const folder = folderOf(undefined, undefined, {'inside.pem': 'x', kube: 'x'})
    symlinkSync(join(folder.folder, 'kube'), join(folder.folder, '..', 'kube'))
    for (const [text, path] of [
      ['network: {hosts: {a.corp: {address: 10.0.0.1, ca: ~/shop/inside.pem}}}', 'network.hosts."a.corp".ca'],
      [
        'projects: {shop: {cluster: {kind: existing, kubeconfig: ~/kube}}}',
        'projects.shop.cluster.kubeconfig',
      ],
      [
        'defaults: {egress: {routes: {a.local: {url: "https://10.0.0.1", ca: ~/shop/inside.pem}}}}',
        'defaults.egress.routes."a.local".ca',
      ],
    ] as const) {
      writeFileSync(folder.options.operatorFile, text)
      await expect(loadProject(folder.options)).rejects.toThrow(`${path}: must not lie inside the repository`)
    }
  })

  test('routes of the operator have their certificates', async () => {
    const folder = folderOf(
      undefined,
      'projects: {shop: {egress: {routes: {a.local: {url: "https://10.0.0.1", ca: ~/ca.pem}}}}}',
    )
    const pem = parseAuthority(createAuthority('test', Date.now())).certificate
    writeFileSync(join(folder.folder, '..', 'ca.pem'), pem)
    expect((await loadProject(folder.options)).egress.routes).toEqual([
      {name: 'a.local', url: 'https://10.0.0.1', address: '10.0.0.1', ca: pem},
    ])
  })

  test('a certificate of a route lies in the repository, links followed', async () => {
    const route = 'egress: {routes: {a.example.com: {url: "https://1.1.1.1", ca: CA}}}'
    for (const [ca, message] of [
      ['../x.pem', 'inside the repository'],
      ['link.pem', 'inside the repository'],
      ['none.pem', 'not a readable PEM'],
      ['text.pem', 'not a readable PEM'],
    ] as const) {
      const folder = folderOf(route.replace('CA', ca), undefined, {'text.pem': 'x'})
      writeFileSync(join(folder.folder, '..', 'x.pem'), 'x')
      symlinkSync('../x.pem', join(folder.folder, 'link.pem'))
      await expect(loadProject(folder.options)).rejects.toThrow(message)
    }
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
