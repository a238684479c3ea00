import {describe, expect, test} from '@jest/globals'
import type {CageError} from '../../../core/errors.js'
import type {OperatorFile, ProjectFile} from '../../../policy/file-types.js'
import {
  approve,
  nameWidening,
  noApprovals,
  parseApprovals,
  requireApproval,
  unapproved,
  wideningOf,
} from '../../../policy/trust.js'
import {buildSettings} from '../../../policy/build.js'
import {settingsOf} from '../../support/settings.js'

const widening = (project: ProjectFile, operator?: OperatorFile) => wideningOf(settingsOf(project, operator))
const texts = (project: ProjectFile, operator?: OperatorFile) =>
  widening(project, operator).items.map(({text}) => text)

describe('what needs nobody', () => {
  const cases: [string, ProjectFile][] = [
    ['nothing', {}],
    [
      'more or less of the machine',
      {machine: {cpus: 2, memory: '2GiB'}, task: {cpu: 1, memory: '1GiB', disk: '1GiB'}},
    ],
    [
      'another agent, environment, set-up, author',
      {task: {agent: 'shell', env: {A: 'b'}, setup: 'x.sh', author: 'a <a@b.c>'}},
    ],
    ['a budget', {task: {budget: {usd: 1}}}],
    ['a base branch', {repository: {base: 'trunk'}}],
    ['shipped presets', {egress: {presets: ['npm', 'pypi', 'anthropic']}}],
    ['denies', {egress: {deny: [{host: 'x.com'}]}}],
    [
      'what a preset covers',
      {egress: {presets: ['npm'], allow: [{host: 'registry.npmjs.org', methods: ['GET'], paths: ['/a/**']}]}},
    ],
    [
      'the credential of a shipped agent',
      {
        credentials: [
          {
            name: 'anthropic',
            from: {env: 'ANTHROPIC_AUTH_TOKEN'},
            inject: {host: 'api.anthropic.com', header: 'Authorization', template: 'Bearer {}'},
            as: 'ANTHROPIC_AUTH_TOKEN',
          },
        ],
      },
    ],
    [
      'more protected paths, smaller files',
      {git: {push: {deny: ['ci', '.gitmodules', '**/.gitattributes', 'secrets/**'], maxBlob: '1MiB'}}},
    ],
  ]
  test.each(cases)('%s', (_, project) => expect(texts(project)).toEqual([]))
})

describe('what waits for cage trust, in sentences', () => {
  const cases: [ProjectFile, string[]][] = [
    [
      {
        repository: {
          upstream: 'https://github.com/org/app',
          credential: 'forge',
          read: ['https://github.com/org/lib'],
          mode: 'fork',
        },
      },
      [
        'repository: branches go to https://github.com/org/app',
        'repository: the dispatcher uses credential forge there',
        'repository: tasks may fetch https://github.com/org/lib',
        'repository: mode fork',
      ],
    ],
    [
      {task: {image: 'big', files: ['.env.test', './b']}},
      [
        'task: runs in image big',
        'task: gets the untracked file .env.test',
        'task: gets the untracked file b',
      ],
    ],
    [
      {
        egress: {
          allow: [
            {host: 'API.example.com', methods: ['get'], paths: ['/v1/**']},
            {host: '*.example.org', port: 8443, websocket: true},
          ],
        },
      },
      [
        'egress: GET to https://api.example.com/v1/**',
        'egress: any method to https://*.example.org:8443, any path; WebSocket',
      ],
    ],
    [
      {egress: {audit: [{host: 'a.com', mcp: {tools: ['search']}}]}},
      ['egress: any method to https://a.com, any path; MCP tools search; recorded as "would be denied"'],
    ],
    [
      {egress: {presets: ['npm'], allow: [{host: 'registry.npmjs.org', methods: ['PUT']}]}},
      ['egress: PUT to https://registry.npmjs.org, any path'],
    ],
    [
      {egress: {allow: [{host: 'аpi.example.com'}]}},
      [
        'egress: any method to https://xn--pi-6kc.example.com, any path; CAUTION: an internationalised name that can look like another one',
      ],
    ],
    [
      {egress: {routes: {'inference.local': {url: 'https://1.1.1.1:8443', ca: 'ca.pem'}}}},
      [
        expect.stringMatching(
          /^egress: inference\.local leads to https:\/\/1\.1\.1\.1:8443, address 1\.1\.1\.1, with a CA of its own \([0-9a-f]{16}\)$/,
        ) as unknown as string,
      ],
    ],
    [
      {
        credentials: [
          {
            name: 'stripe',
            from: {dotenv: 'STRIPE_KEY'},
            inject: {host: 'api.stripe.com', header: 'Authorization', template: 'Bearer {}'},
            as: 'STRIPE_KEY',
          },
        ],
      },
      [
        'credential stripe: STRIPE_KEY in .env is sent to https://api.stripe.com in header authorization as "Bearer {}"; the agent sees a placeholder in STRIPE_KEY',
      ],
    ],
    [
      {
        credentials: [
          {
            name: 'anthropic',
            from: {env: 'ANTHROPIC_AUTH_TOKEN'},
            inject: {host: 'api.anthropic.evil.com', header: 'authorization', template: 'Bearer {}'},
            as: 'A',
          },
        ],
      },
      [expect.stringContaining('https://api.anthropic.evil.com') as unknown as string],
    ],
    [
      {
        credentials: [
          {
            name: 'anthropic',
            from: {env: 'AWS_SECRET_ACCESS_KEY'},
            inject: {host: 'api.anthropic.com', header: 'authorization', template: 'Bearer {}'},
            as: 'A',
          },
        ],
      },
      [expect.stringContaining('environment variable AWS_SECRET_ACCESS_KEY') as unknown as string],
    ],
    [
      {
        git: {
          push: {force: true, delete: true, tags: ['v/*'], deny: ['.gitmodules'], maxBlob: '1GiB'},
          secrets: {onFinding: 'warn', allow: ['ab'.repeat(32)]},
        },
      },
      [
        'git: a task may rewrite its branch',
        'git: a task may delete its branch',
        'git: a task may push the tag v/*',
        'git: a task may change what "ci" protects',
        'git: a task may change what "**/.gitattributes" protects',
        'git: a task may push files of 1073741824 bytes',
        `git: the value with SHA-256 ${'ab'.repeat(32)} is no secret`,
        'git: a secret in a push: warn',
      ],
    ],
  ]
  test.each(cases)('%#', (project, expected) => expect(texts(project)).toEqual(expected))

  test('a project may be stricter about authors than the operator, and must ask to be less so', () => {
    const operator: OperatorFile = {projects: {shop: {git: {push: {author: 'warn'}}}}}
    expect(texts({git: {push: {author: 'own'}}}, operator)).toEqual([])
    expect(texts({git: {push: {author: 'own'}}})).toEqual([])
  })

  test('what the operator said needs no approval', () => {
    const operator: OperatorFile = {
      projects: {
        shop: {
          egress: {allow: [{host: 'a.com', rate: {rps: 1}}], audit: [{host: 'b.com'}]},
          git: {push: {force: true}},
          repository: {upstream: 'https://git.example.com/a'},
        },
      },
    }
    expect(texts({}, operator)).toEqual([])
    expect(texts({egress: {allow: [{host: 'c.com'}]}}, operator)).toEqual([
      'egress: any method to https://c.com, any path',
    ])
  })

  test('sentences carry no control characters', () => {
    expect(texts({task: {files: ['a\u001b[31m\u202eb']}})[0]).not.toMatch(/[\u001b\u202e]/)
  })
})

describe('hashes', () => {
  const rule = (over = {}) => ({
    egress: {allow: [{host: 'a.com', methods: ['GET', 'HEAD'], paths: ['/a', '/b'], ...over}]},
  })
  const hash = (project: ProjectFile) => widening(project).hash
  test('are of compiled results: the way something is written does not matter', () => {
    const known = hash(rule())
    expect(
      hash(
        rule({host: 'A.com.', methods: ['head', 'get'], paths: ['/b', '/a'], port: 443, websocket: false}),
      ),
    ).toBe(known)
    const two = {egress: {allow: [{host: 'a.com'}, {host: 'b.com'}]}}
    const reversed = {egress: {allow: [{host: 'b.com'}, {host: 'a.com'}]}}
    expect(hash(two)).toBe(hash(reversed))
    expect(known).toMatch(/^[0-9a-f]{64}$/)
  })
  test('change with anything that is let through', () => {
    const hashes = [
      {},
      {host: 'b.com'},
      {methods: ['GET']},
      {methods: undefined},
      {paths: ['/a']},
      {port: 8443},
      {scheme: 'http'},
      {websocket: true},
      {mcp: {}},
      {rate: {rps: 1}},
    ].map((over) => hash(rule(over) as ProjectFile))
    expect(new Set(hashes).size).toBe(hashes.length)
  })
})

describe('approvals', () => {
  const asks = {egress: {allow: [{host: 'a.com'}, {host: 'b.com'}]}}
  const approved = approve(widening(asks), noApprovals, '2026-01-01T00:00:00Z')
  test('an approval holds for the same and for less, not for more', () => {
    expect(unapproved(widening(asks), approved)).toEqual([])
    expect(unapproved(widening({egress: {allow: [{host: 'b.com'}]}}), approved)).toEqual([])
    expect(
      unapproved(widening({egress: {allow: [{host: 'b.com'}, {host: 'c.com'}]}}), approved).map(
        ({text}) => text,
      ),
    ).toEqual(['egress: any method to https://c.com, any path'])
  })
  test('survive the file, and a damaged file approves nothing', () => {
    expect(parseApprovals(JSON.stringify(approved))).toEqual(approved)
    expect(parseApprovals(undefined)).toEqual(noApprovals)
    for (const text of [
      '',
      '{',
      'null',
      '[]',
      '{"version":2,"approved":[]}',
      '{"version":1,"approved":[{"hash":"x"}]}',
    ])
      expect(() => parseApprovals(text)).toThrow('approvals')
  })
  test('without one nothing starts', () => {
    expect(() => requireApproval(widening({}), noApprovals)).not.toThrow()
    expect(() => requireApproval(widening(asks), approved)).not.toThrow()
    try {
      requireApproval(widening(asks), noApprovals)
      throw new Error('accepted')
    } catch (error) {
      const {code, exitCode, message, hints} = error as CageError
      expect([code, exitCode]).toEqual(['NOT_TRUSTED', 4])
      expect(message).toContain('  egress: any method to https://a.com, any path')
      expect(hints[1]).toContain(widening(asks).hash)
    }
  })
})

describe('a name that is not the folder’s', () => {
  const operator: OperatorFile = {projects: {shop: {machine: {driver: 'local'}}}}
  const settings = (folderName: string, projects = operator) =>
    buildSettings({
      name: 'shop',
      folderName,
      operator: projects,
      certificates: new Map(),
      home: '/',
      project: {},
    })

  test('takes the operator’s settings for it only when approved, before anything is made', () => {
    const asked = nameWidening(settings('elsewhere'))
    expect(asked.items.map(({text}) => text)).toEqual(['project: takes your own settings for shop'])
    expect(wideningOf(settings('elsewhere')).items).toEqual(asked.items)
    expect(() => requireApproval(asked, noApprovals)).toThrow(/takes your own settings for shop/)
    requireApproval(asked, approve(asked, noApprovals, '2026-01-01T00:00:00Z'))
  })

  test('is nothing to ask about in the folder of that name, or when nothing is kept for it', () => {
    expect(nameWidening(settings('shop')).items).toEqual([])
    expect(nameWidening(settings('elsewhere', {})).items).toEqual([])
  })
})
