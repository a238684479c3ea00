import {mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync, mkdirSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import type {CageError} from '../../../core/errors.js'
import type {Command, CommandResult} from '../../../core/runner.js'
import {
  newPlaceholder,
  parseDotenv,
  resolveCredentials,
  type CredentialPorts,
} from '../../../policy/credentials.js'
import type {CredentialSource} from '../../../policy/settings.js'

const value = 'a-value-of-some-length'
let root = ''
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'cage-credentials-'))
  mkdirSync(join(root, 'repo'))
  writeFileSync(join(root, 'repo', '.env'), `A=${value}\n`)
  writeFileSync(join(root, 'own.txt'), `${value}\n`)
  writeFileSync(join(root, 'repo', 'inside.txt'), value)
  symlinkSync(join(root, 'repo', 'inside.txt'), join(root, 'looks-outside.txt'))
})
afterAll(() => rmSync(root, {recursive: true}))

function ports(over: Partial<CredentialPorts> = {}): {ports: CredentialPorts; commands: Command[]} {
  const commands: Command[] = []
  const runner = {
    run: (command: Command): Promise<CommandResult> => {
      commands.push(command)
      return Promise.resolve({code: 0, stdout: Buffer.from(`${value}\nsecond line\n`), stderr: ''})
    },
  }
  return {
    commands,
    ports: {
      env: {},
      runner,
      platform: 'linux',
      readFile: (path) => {
        try {
          return Promise.resolve(readFileSync(path, 'utf8'))
        } catch {
          return Promise.resolve(undefined)
        }
      },
      realpath: (path) => Promise.resolve(realpathSync(path)),
      repository: join(root, 'repo'),
      home: root,
      ...over,
    },
  }
}
const resolve = (from: CredentialSource[], over: Partial<CredentialPorts> = {}) =>
  resolveCredentials([{name: 'a', from}], ports(over).ports)

async function failure(from: CredentialSource[], over: Partial<CredentialPorts> = {}): Promise<CageError> {
  try {
    await resolve(from, over)
  } catch (error) {
    return error as CageError
  }
  throw new Error('resolved')
}

describe('sources', () => {
  test('each kind gives its value', async () => {
    const sources: CredentialSource[] = [
      {dotenv: 'A'},
      {file: join(root, 'own.txt')},
      {command: ['pass', 'x']},
      {keychain: 'svc/acc'},
    ]
    for (const source of sources) expect(await resolve([source])).toEqual({a: value})
    expect(await resolve([{env: 'A'}], {env: {A: ` ${value}\n`}})).toEqual({a: value})
  })

  test('the first that has a value wins; an empty one is none', async () => {
    expect(await resolve([{env: 'NONE'}, {env: 'EMPTY'}, {dotenv: 'A'}], {env: {EMPTY: ' '}})).toEqual({
      a: value,
    })
  })

  test('commands run as argv in the home directory, never in the repository', async () => {
    const {ports: given, commands} = ports()
    await resolveCredentials([{name: 'a', from: [{command: ['gh', 'auth', 'token; id']}]}], given)
    expect(commands[0]).toMatchObject({argv: ['gh', 'auth', 'token; id'], cwd: root})
  })

  test('the keychain of each system', async () => {
    const {ports: linux, commands: first} = ports()
    await resolveCredentials([{name: 'a', from: [{keychain: 'svc/me'}]}], linux)
    expect(first[0]?.argv).toEqual(['secret-tool', 'lookup', 'service', 'svc', 'account', 'me'])
    const {ports: mac, commands: second} = ports({platform: 'darwin'})
    await resolveCredentials([{name: 'a', from: [{keychain: 'svc'}]}], mac)
    expect(second[0]?.argv).toEqual(['security', 'find-generic-password', '-w', '-s', 'svc'])
  })
})

describe('failures', () => {
  test('every missing one is named with where it was looked for', async () => {
    const {ports: given} = ports()
    const credentials = [
      {name: 'one', from: [{env: 'ONE'}, {dotenv: 'ONE'}]},
      {name: 'two', from: [{file: '/nowhere/x'}]},
      {name: 'three', from: []},
    ]
    await expect(resolveCredentials(credentials, given)).rejects.toMatchObject({
      code: 'CREDENTIAL_MISSING',
      exitCode: 3,
      message: [
        'credential one has no value: looked in environment variable ONE and ONE in .env',
        'credential two has no value: looked in file /nowhere/x',
        'credential three has no value: nothing says where it is',
      ].join('\n'),
    })
  })

  test('a value that cannot travel in a header or cannot be protected is refused and not shown', async () => {
    for (const bad of [
      'brief',
      `two\nlines-of-${value}`,
      `with\u0000nul-${value}`,
      `ünï-${value}`,
      `tab\t${value}`,
      'x'.repeat(20_000),
    ]) {
      const {code, exitCode, message} = await failure([{env: 'A'}], {env: {A: bad}})
      expect([code, exitCode]).toEqual(['CREDENTIAL_UNUSABLE', 3])
      expect(message).not.toContain(bad.slice(0, 5))
    }
  })

  test('a file inside the repository is no source, by any way', async () => {
    for (const file of [
      join(root, 'repo', 'inside.txt'),
      join(root, 'looks-outside.txt'),
      join(root, 'repo', '..', 'repo', 'inside.txt'),
    ])
      expect((await failure([{file}])).message).toContain('inside the repository')
  })

  test('a program inside the repository is no source', async () => {
    const program = join(root, 'repo', 'get-token')
    writeFileSync(program, '#!/bin/sh\n', {mode: 0o755})
    symlinkSync(program, join(root, 'get-token'))
    for (const path of [program, join(root, 'get-token')])
      expect((await failure([{command: [path]}])).message).toContain('inside the repository')
  })

  test('a .env that leads out of the repository is no source', async () => {
    const repository = join(root, 'linked')
    mkdirSync(repository)
    symlinkSync(join(root, 'own.txt'), join(repository, '.env'))
    expect((await failure([{dotenv: 'A'}], {repository})).message).toContain('out of the repository')
  })

  test('a command that fails says so without its output', async () => {
    const runner = {
      run: () => Promise.resolve({code: 1, stdout: Buffer.from(value), stderr: 'not logged in\n'}),
    }
    const {message, exitCode} = await failure([{command: ['gh', 'auth', 'token']}], {runner})
    expect(exitCode).toBe(3)
    expect(message).toContain('not logged in')
    expect(message).not.toContain(value)
  })

  test('a keychain that has no such entry is a missing value; one that cannot be asked says why', async () => {
    const none = {run: () => Promise.resolve({code: 1, stdout: Buffer.alloc(0), stderr: ''})}
    expect((await failure([{keychain: 'x'}], {runner: none})).message).toContain('keychain entry x')
    const broken = {run: () => Promise.reject(new Error('secret-tool is not installed'))}
    expect((await failure([{keychain: 'x'}], {runner: broken})).hints[0]).toContain('libsecret')
  })
})

test('.env files', () => {
  expect(
    parseDotenv(
      '# c\nA=1\nexport B = two words # c\nC="q # \\"x\\""\nD=\'$s\'\nE=\nA=2\nnot a line\n1X=3\r\nF=crlf\r\n',
    ),
  ).toEqual({A: '2', B: 'two words', C: 'q # "x"', D: '$s', E: '', F: 'crlf'})
})

describe('placeholders', () => {
  const at = (host: string, header = 'authorization') =>
    newPlaceholder({inject: {kind: 'header', host, port: 443, header, template: '{}'}})
  test('have the shape that clients accept, and one length', () => {
    expect(at('api.anthropic.com')).toMatch(/^sk-ant-oat01-[0-9a-f]{93}AA$/)
    expect(at('api.anthropic.com', 'x-api-key')).toMatch(/^sk-ant-api03-[0-9a-f]{93}AA$/)
    expect(at('api.example.com')).toMatch(/^cage_placeholder_[0-9a-f]{48}$/)
  })
  test('are never the same', () => {
    expect(new Set(Array.from({length: 50}, () => at('api.anthropic.com'))).size).toBe(50)
  })
})
