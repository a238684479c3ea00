import {execFileSync} from 'node:child_process'
import {existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Config, type Command} from '@oclif/core'
import {captureOutput} from '@oclif/test'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import Init from '../../cli/commands/init.js'
import PolicyExplain from '../../cli/commands/policy/explain.js'
import Trust from '../../cli/commands/trust.js'

type Runnable = typeof Command & {run: (argv: string[], config: Config) => Promise<unknown>}

let root = ''
let repository = ''
const saved = {...process.env}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cage-policy-'))
  repository = join(root, 'shop')
  mkdirSync(repository)
  execFileSync('git', ['init', '-q', repository])
  Object.assign(process.env, {
    HOME: root,
    XDG_STATE_HOME: join(root, 'state'),
    XDG_CONFIG_HOME: join(root, 'config'),
    XDG_CACHE_HOME: join(root, 'cache'),
  })
})
afterEach(() => {
  process.env = {...saved}
  rmSync(root, {recursive: true})
})

const write = (text: string) => writeFileSync(join(repository, 'cage.yaml'), text)

async function cage(command: Runnable, ...argv: string[]) {
  const config = await Config.load({root: process.cwd()})
  const {stdout, stderr, error} = await captureOutput(
    () => command.run([...argv, '-C', repository], config),
    {
      print: false,
    },
  )
  const exit = (error as {oclif?: {exit?: number}} | undefined)?.oclif?.exit
  const code = error ? (exit ?? 1) : typeof process.exitCode === 'number' ? process.exitCode : 0
  process.exitCode = undefined
  return {code, stdout, stderr}
}

const json = (stdout: string) => JSON.parse(stdout) as Record<string, unknown>

describe('cage init', () => {
  test('writes a file that changes nothing, once', async () => {
    const first = await cage(Init, '--json')
    expect(first.code).toBe(0)
    expect(json(first.stdout)).toEqual({path: join(repository, 'cage.yaml')})
    expect(json((await cage(Trust, '--json')).stdout)).toMatchObject({widens: [], approved: true})
    const text = readFileSync(join(repository, 'cage.yaml'), 'utf8')
    const second = await cage(Init)
    expect(second.code).toBe(1)
    expect(second.stderr).toContain('exists already')
    expect(readFileSync(join(repository, 'cage.yaml'), 'utf8')).toBe(text)
  })

  test('every line that is commented out is valid', async () => {
    await cage(Init)
    const path = join(repository, 'cage.yaml')
    write(readFileSync(path, 'utf8').replace(/^#(?! \S)/gm, ''))
    const {code, stdout} = await cage(Trust, '--json')
    expect(code).toBe(0)
    expect(json(stdout)['widens']).toEqual([
      'task: gets the untracked file .env.test',
      'egress: GET, HEAD to https://api.example.com/v1/**',
      'credential example: EXAMPLE_TOKEN in .env is sent to https://api.example.com in header authorization as "Bearer {}"; the agent sees a placeholder in EXAMPLE_TOKEN',
    ])
  })

  test('outside of a repository there is nothing to write', async () => {
    repository = root
    const {code, stderr} = await cage(Init)
    expect(code).toBe(3)
    expect(stderr).toContain('git repository')
    expect(existsSync(join(root, 'cage.yaml'))).toBe(false)
  })
})

describe('cage trust', () => {
  const wide = 'egress: {allow: [{host: api.example.com, methods: [GET]}]}\n'

  test('without a terminal it shows, names the hash and approves nothing', async () => {
    write(wide)
    const {code, stdout, stderr} = await cage(Trust)
    expect(code).toBe(4)
    expect(stdout).toContain('  + egress: GET to https://api.example.com, any path')
    const hash = /^hash ([0-9a-f]{64})$/m.exec(stdout)?.[1]
    expect(stderr).toContain(`cage trust --approve ${hash ?? 'none'}`)
    expect(json((await cage(Trust, '--json')).stdout)).toEqual({
      widens: ['egress: GET to https://api.example.com, any path'],
      hash,
      approved: false,
    })
    expect(existsSync(join(root, 'state'))).toBe(false)
  })

  test('an approval is of exactly what was shown, and is remembered', async () => {
    write(wide)
    const hash = String(json((await cage(Trust, '--json')).stdout)['hash'])
    write(`${wide}git: {push: {force: true}}\n`)
    const wrong = await cage(Trust, '--approve', hash)
    expect(wrong.code).toBe(4)
    expect(wrong.stderr).toContain('something else')
    write(wide)
    expect((await cage(Trust, '--approve', hash)).code).toBe(0)
    const again = await cage(Trust)
    expect(again.code).toBe(0)
    expect(again.stdout).toContain('Everything that cage.yaml asks for is approved')
    write(`${wide}git: {push: {force: true}}\n`)
    const more = await cage(Trust)
    expect(more.code).toBe(4)
    expect(more.stdout).toContain('    egress: GET to')
    expect(more.stdout).toContain('  + git: a task may rewrite its branch')
  })

  test('approvals lie in the state directory, for this person alone', async () => {
    write(wide)
    const hash = String(json((await cage(Trust, '--json')).stdout)['hash'])
    await cage(Trust, '--approve', hash)
    const found = execFileSync('find', [join(root, 'state'), '-name', 'approvals.json'], {
      encoding: 'utf8',
    }).trim()
    expect(statSync(found).mode & 0o777).toBe(0o600)
    expect(JSON.parse(readFileSync(found, 'utf8'))).toMatchObject({version: 1, approved: [{hash}]})
  })

  test('what only the operator may say cannot be approved', async () => {
    write('egress: {presets: [read-the-web]}\n')
    const {code, stderr} = await cage(Trust, '--approve', 'x')
    expect(code).toBe(4)
    expect(stderr).toContain('cage.yaml:1:20 egress.presets[0]')
    expect(stderr).toContain('projects: {shop: {egress: {presets: [read-the-web]}}}')
  })

  test('an invalid file is exit 2 with the JSON envelope', async () => {
    write('egres: {}\n')
    const {code, stdout} = await cage(Trust, '--json')
    expect(code).toBe(2)
    expect(json(stdout)).toEqual({
      error: {
        code: 'CONFIG_INVALID',
        message: 'cage.yaml:1:1 egres: unknown key, did you mean egress?',
        hints: ['Correct this line; docs/reference/cage-yaml.md lists every field.'],
      },
    })
  })
})

describe('cage policy explain', () => {
  test('names decision, rule and reason', async () => {
    write('egress: {presets: [npm], deny: [{host: registry.npmjs.org, paths: ["/@evil/**"]}]}\n')
    const {code, stdout} = await cage(PolicyExplain, 'https://registry.npmjs.org/left-pad')
    expect(code).toBe(0)
    expect(stdout).toBe(
      'allow  GET https://registry.npmjs.org/left-pad\n  a rule allows it (preset:npm/registry)\n',
    )
    expect(
      json((await cage(PolicyExplain, 'put', 'https://registry.npmjs.org/left-pad', '--json')).stdout),
    ).toEqual({
      decision: 'deny',
      rule: null,
      reason: 'rules for this host and port name other methods',
    })
    expect(
      json((await cage(PolicyExplain, 'https://registry.npmjs.org/@evil%2fx', '--json')).stdout),
    ).toEqual({
      decision: 'deny',
      rule: 'cage.yaml:deny[0]',
      reason: 'a rule denies it: deny beats allow',
    })
  })

  test('knows the rights of the agent, and no others', async () => {
    const ask = async () =>
      json((await cage(PolicyExplain, 'POST', 'https://api.anthropic.com/v1/messages', '--json')).stdout)[
        'decision'
      ]
    expect(await ask()).toBe('allow')
    write('task: {agent: shell}\n')
    expect(await ask()).toBe('deny')
  })

  test('an address that no request can have is exit 2', async () => {
    expect((await cage(PolicyExplain, 'https://user@example.com/')).code).toBe(2)
    expect((await cage(PolicyExplain)).code).toBe(2)
  })
})
