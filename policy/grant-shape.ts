import {CageError, ExitCode} from '../core/errors.js'
import {githubWrites, type EgressGrant, type GitGrant, type GrantHead, type SignedPart} from './grant.js'

/**
 * Closed shape checks for what arrives over a trust border: unknown fields, wrong types and missing fields are refused.
 * Written by hand because proxy and dispatcher import it and must not carry a schema library.
 */
type Check = (value: unknown, path: string) => void

function refuse(path: string, expected: string): never {
  throw new CageError(`grant refused: ${path || 'document'}: expected ${expected}`, {
    code: 'GRANT_SHAPE',
    exitCode: ExitCode.denied,
  })
}

const text: Check = (value, path) => {
  if (typeof value !== 'string') refuse(path, 'a text')
}
const filled: Check = (value, path) => {
  if (typeof value !== 'string' || value === '') refuse(path, 'a text that is not empty')
}
const flag: Check = (value, path) => {
  if (typeof value !== 'boolean') refuse(path, 'true or false')
}
const count: Check = (value, path) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    refuse(path, 'a whole number, 0 or more')
}
const amount: Check = (value, path) => {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) refuse(path, 'a number, 0 or more')
}
const port: Check = (value, path) => {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 65535)
    refuse(path, 'a port, 1 to 65535')
}
const sha256: Check = (value, path) => {
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)) refuse(path, '64 lower-case hex digits')
}
const version: Check = (value, path) => {
  if (value !== 1) refuse(path, 'version 1')
}
const revision: Check = (value, path) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
    refuse(path, 'a revision, 1 or more')
}

function oneOf(...values: readonly string[]): Check {
  return (value, path) => {
    if (typeof value !== 'string' || !values.includes(value)) refuse(path, values.join(' or '))
  }
}

function list(item: Check): Check {
  return (value, path) => {
    if (!Array.isArray(value)) refuse(path, 'a list')
    value.forEach((entry, index) => item(entry, `${path}[${index}]`))
  }
}

function record(required: Record<string, Check>, optional: Record<string, Check> = {}): Check {
  const known = new Map(Object.entries({...required, ...optional}))
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(path, 'an object')
    for (const key of Object.keys(required))
      if (!Object.hasOwn(value, key)) refuse(path ? `${path}.${key}` : key, 'a value')
    for (const [key, entry] of Object.entries(value)) {
      const check = known.get(key)
      const at = path ? `${path}.${key}` : key
      if (!check) refuse(at, 'no such field')
      check(entry, at)
    }
  }
}

function byKind(shapes: Record<string, Check>): Check {
  return (value, path) => {
    const kind =
      typeof value === 'object' && value !== null ? (value as Record<string, unknown>)['kind'] : undefined
    const shape = typeof kind === 'string' && Object.hasOwn(shapes, kind) ? shapes[kind] : undefined
    if (!shape) refuse(`${path}.kind`, Object.keys(shapes).join(' or '))
    shape(value, path)
  }
}

const head = record({
  version,
  project: filled,
  task: filled,
  revision,
  handleSha256: sha256,
  egressSha256: sha256,
  gitSha256: sha256,
})

const signedPart = record({head, signature: filled, body: filled})

const egressRule = record(
  {
    id: filled,
    effect: oneOf('deny', 'allow', 'audit'),
    host: filled,
    port,
    scheme: oneOf('https', 'http'),
  },
  {
    methods: list(filled),
    paths: list(filled),
    websocket: flag,
    mcp: record({}, {tools: list(text), methods: list(text)}),
    urlBytes: count,
    hosts: count,
    rate: record({}, {rps: amount, concurrency: count, bytesUp: count}),
  },
)

const credentialBinding = record({
  name: filled,
  placeholder: filled,
  host: filled,
  port,
  inject: byKind({
    header: record({kind: text, header: filled, template: filled}),
    basic: record({kind: text, user: text}),
    json: record({kind: text, pointer: text}),
    sigv4: record({kind: text, region: filled, service: filled}),
  }),
})

const egressGrant = record(
  {
    version,
    project: filled,
    task: filled,
    revision,
    dispatcher: record({address: filled, port, ca: filled, hosts: list(filled)}),
    resolver: list(filled),
    rules: list(egressRule),
    credentials: list(credentialBinding),
    hosts: list(record({host: filled, address: filled, port}, {ca: filled})),
    routes: list(record({name: filled, url: filled, address: filled}, {ca: filled, pin: filled})),
    allowAddresses: list(filled),
    detectors: record({audit: list(filled)}),
    budget: record({}, {tokens: count, usd: amount, seconds: count, uploadBytes: count}),
  },
  {
    upstreamProxy: filled,
    issued: list(record({id: filled, form: filled, length: count, anchor: count, sha256: filled})),
  },
)

const gitGrant = record(
  {
    version,
    project: filled,
    task: filled,
    revision,
    principal: oneOf('task', 'operator'),
    upstream: record({kind: oneOf('hosted', 'git', 'github'), url: filled}, {fork: filled}),
    repository: filled,
    branch: filled,
    base: filled,
    read: list(filled),
    push: record(
      {
        refs: list(filled),
        force: flag,
        delete: flag,
        tags: list(filled),
        deny: list(filled),
        limits: record(
          {
            packBytes: count,
            blobBytes: count,
            objects: count,
            commits: count,
            refs: count,
            seconds: count,
          },
          {totalBytes: count},
        ),
      },
      {author: record({email: filled, action: oneOf('warn', 'deny')})},
    ),
    secrets: record({onFinding: oneOf('deny', 'hold', 'warn')}, {allow: list(filled)}),
  },
  {github: record({writes: list(oneOf(...githubWrites)), writesPerHour: count, readsPerHour: count})},
)

export function checkHead(value: unknown): asserts value is GrantHead {
  head(value, 'head')
}

export function checkSignedPart(value: unknown): asserts value is SignedPart {
  signedPart(value, '')
}

export function checkEgressGrant(value: unknown): asserts value is EgressGrant {
  egressGrant(value, '')
}

export function checkGitGrant(value: unknown): asserts value is GitGrant {
  gitGrant(value, '')
}
