import {spawn} from 'node:child_process'
import {mkdirSync, readdirSync, writeFileSync} from 'node:fs'
import {createServer, type Server} from 'node:net'
import {PassThrough} from 'node:stream'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {messageFilter, serveRemoteHelper} from '../../cli/remote-helper/protocol.js'
import {processRunner} from '../../core/process.js'
import {GitSandbox} from '../support/git-sandbox.js'
import {localFarEnd} from '../support/local-far-end.js'

let box: GitSandbox
let door: Server

/**
 * git starts helpers as programs: a small one on PATH hands its streams, its folder and its environment to this
 * process, where the real protocol code runs.
 */
const PROXY = `#!/usr/bin/env node
const s = require('node:net').connect(process.env.CAGE_TEST_DOOR)
s.write(JSON.stringify({cwd: process.cwd(), env: process.env, url: process.argv[3]}) + '\\n')
process.stdin.on('data', (d) => s.write(JSON.stringify({in: d.toString()}) + '\\n'))
process.stdin.on('end', () => s.write(JSON.stringify({end: true}) + '\\n'))
let rest = ''
s.on('data', (d) => {
  rest += d
  const lines = rest.split('\\n')
  rest = lines.pop()
  for (const line of lines) {
    const m = JSON.parse(line)
    if (m.out !== undefined) process.stdout.write(m.out)
    if (m.err !== undefined) process.stderr.write(m.err)
    if (m.code !== undefined) process.exitCode = m.code
  }
})
s.on('end', () => process.exit())
`

beforeEach(async () => {
  box = new GitSandbox()
  box.init('far.git', '--bare')
  box.commit('far.git', 'main', 'readme', 'one')
  box.init('home')
  mkdirSync(box.path('bin'))
  writeFileSync(box.path('bin/git-remote-cage'), PROXY, {mode: 0o755})
  box.env['PATH'] = `${box.path('bin')}:${box.env['PATH'] ?? ''}`
  box.env['CAGE_TEST_DOOR'] = box.path('door')
  door = createServer({allowHalfOpen: true}, (socket) => {
    const input = new PassThrough()
    let rest = ''
    const sink = (key: 'out' | 'err') => {
      const stream = new PassThrough()
      stream.on('data', (chunk: Buffer) => socket.write(`${JSON.stringify({[key]: chunk.toString()})}\n`))
      return stream
    }
    const [output, messages] = [sink('out'), sink('err')]
    socket.on('error', () => input.end())
    socket.on('data', (data) => {
      rest += data.toString()
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const message = JSON.parse(line) as {
          in?: string
          end?: boolean
          cwd?: string
          env?: Record<string, string>
        }
        if (message.in !== undefined) input.write(message.in)
        if (message.end) input.end()
        if (message.cwd === undefined) continue
        const local = {runner: processRunner, directory: message.cwd, env: message.env ?? {}}
        serveRemoteHelper({input, output, messages}, local, () =>
          Promise.resolve(localFarEnd(box.path('far.git'))),
        )
          .catch((error: unknown) => {
            socket.write(`${JSON.stringify({err: `${String(error)}\n`, code: 1})}\n`)
          })
          .finally(() => setImmediate(() => socket.end()))
      }
    })
  })
  await new Promise<void>((done) => door.listen(box.path('door'), done))
})
afterEach(async () => {
  await new Promise((done) => door.close(done))
  box.remove()
})

function git(where: string, ...args: string[]): Promise<{code: number; out: string; err: string}> {
  return new Promise((done, failed) => {
    const child = spawn('git', ['-C', box.path(where), ...args], {env: box.env})
    let [out, err] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    child.on('error', failed)
    child.on('close', (code) => done({code: code ?? 1, out: out.trim(), err}))
  })
}

const remote = ['config', '--add', 'remote.cage.fetch', '+refs/heads/*:refs/remotes/cage/*']
function addRemote(where: string) {
  box.git(where, 'config', 'remote.cage.url', 'cage::shop-1a2b3c4d')
  box.git(where, ...remote)
  box.git(where, 'config', 'remote.cage.tagOpt', '--no-tags')
}

describe('git through the remote helper', () => {
  it('ls-remote shows the branches', async () => {
    const result = await git('home', 'ls-remote', 'cage::x')
    const tip = box.git('far.git', 'rev-parse', 'main')
    expect(result).toMatchObject({code: 0, out: `${tip}\tHEAD\n${tip}\trefs/heads/main`})
  })

  it('fetch brings branches as cage/<branch>, no tag, and leaves no lock', async () => {
    addRemote('home')
    const tip = box.commit('far.git', 'fix/login', 'a', 'a')
    box.git('far.git', 'tag', 'v1', tip)
    const result = await git('home', 'fetch', 'cage')
    expect(result).toMatchObject({code: 0})
    expect(box.git('home', 'for-each-ref', '--format=%(refname)')).toBe(
      'refs/remotes/cage/fix/login\nrefs/remotes/cage/main',
    )
    expect(box.git('home', 'log', '-1', '--format=%H', 'cage/fix/login')).toBe(tip)
    expect(readdirSync(box.path('home/.git/objects/pack')).filter((name) => name.endsWith('.keep'))).toEqual(
      [],
    )
    expect((await git('home', 'fetch', 'cage')).code).toBe(0)
  })

  it('clones', async () => {
    const result = await git('.', 'clone', 'cage::x', 'copy')
    expect(result).toMatchObject({code: 0})
    expect(box.git('copy', 'show', 'HEAD:readme')).toBe('one')
    expect(box.git('copy', 'branch', '--show-current')).toBe('main')
  })

  it('pushes, refuses what is no fast-forward, forces and deletes on request', async () => {
    addRemote('home')
    await git('home', 'fetch', 'cage')
    box.git('home', 'update-ref', 'refs/heads/main', 'refs/remotes/cage/main')
    const tip = box.commit('home', 'main', 'own', 'own')
    expect(await git('home', 'push', 'cage', 'main')).toMatchObject({code: 0})
    expect(box.git('far.git', 'rev-parse', 'main')).toBe(tip)
    expect((await git('home', 'push', 'cage', 'main')).err).toContain('Everything up-to-date')
    box.git('home', 'update-ref', 'refs/heads/main', `${tip}~1`)
    const other = box.commit('home', 'main', 'other', 'other')
    const refused = await git('home', 'push', 'cage', 'main')
    expect(refused.code).toBe(1)
    expect(refused.err).toContain('[rejected]')
    expect(box.git('far.git', 'rev-parse', 'main')).toBe(tip)
    expect(
      await git('home', 'push', `--force-with-lease=main:${'0'.repeat(39)}1`, 'cage', 'main'),
    ).toMatchObject({
      code: 1,
    })
    expect(await git('home', 'push', `--force-with-lease=main:${tip}`, 'cage', 'main')).toMatchObject({
      code: 0,
    })
    expect(box.git('far.git', 'rev-parse', 'main')).toBe(other)
    expect(await git('home', 'push', '--dry-run', 'cage', 'main:new')).toMatchObject({code: 0})
    expect(await git('home', 'push', 'cage', 'main:new')).toMatchObject({code: 0})
    expect(await git('home', 'push', 'cage', ':new')).toMatchObject({code: 0})
    expect(box.git('far.git', 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main')
  })

  it('escapes what the far end says', async () => {
    addRemote('home')
    box.commit('home', 'topic', 'own', 'own')
    const hook = '#!/bin/sh\nprintf "cage: \\033]52;c;eA==\\007 \\302\\2336n no\\n" >&2\nexit 1\n'
    writeFileSync(box.path('far.git/hooks/pre-receive'), hook, {mode: 0o755})
    const result = await git('home', 'push', 'cage', 'topic')
    expect(result.code).toBe(1)
    expect(result.err).toContain('cage: \\u{1b}]52;c;eA==\\u{7} \\u{9b}6n no')
    expect(result.err).not.toMatch(/[\u001b\u0007\u0080-\u009f]/)
    expect(result.err).toContain('pre-receive hook declined')
  })

  it('works in a linked work tree', async () => {
    addRemote('home')
    box.commit('home', 'main', 'x', 'x')
    box.git('home', 'worktree', 'add', '-q', '-b', 'linked', box.path('linked'))
    expect(await git('linked', 'fetch', 'cage')).toMatchObject({code: 0})
    expect(box.git('home', 'rev-parse', 'refs/remotes/cage/main')).toBe(
      box.git('far.git', 'rev-parse', 'main'),
    )
    expect(await git('linked', 'push', 'cage', 'linked')).toMatchObject({code: 0})
  })

  it('takes nothing of a hostile branch', async () => {
    addRemote('home')
    const tree = box.git('far.git', 'rev-parse', 'main^{tree}')
    const raw = Buffer.concat([Buffer.from('40000 .git\0'), Buffer.from(tree, 'hex')])
    const hostile = box.gitWith(
      'far.git',
      {input: raw},
      'hash-object',
      '--literally',
      '-t',
      'tree',
      '-w',
      '--stdin',
    )
    box.git('far.git', 'update-ref', 'refs/heads/x', box.git('far.git', 'commit-tree', hostile, '-m', 'x'))
    const result = await git('home', 'fetch', 'cage')
    expect(result.code).not.toBe(0)
    expect(result.err).toContain('hasDotgit')
    expect(box.git('home', 'for-each-ref')).toBe('')
  })
})

describe('messages', () => {
  it('come in whole lines, escaped, split characters included', () => {
    const output = new PassThrough()
    const write = messageFilter(output)
    const bytes = Buffer.from('remote: é \u001b[31mx\u202e\nrest\r')
    for (const byte of bytes) write(Buffer.from([byte]))
    expect((output.read() as Buffer).toString()).toBe('remote: é \\u{1b}[31mx\\u{202e}\nrest\r')
  })
})
