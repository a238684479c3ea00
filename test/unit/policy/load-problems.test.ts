import {symlinkSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, expect, test} from '@jest/globals'
import {loadProject} from '../../../policy/load.js'
import {failure, folderOf, problems} from '../../support/config-loading.js'

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
