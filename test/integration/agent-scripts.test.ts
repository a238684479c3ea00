import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {execFileSync, spawn, spawnSync, type ChildProcess, type SpawnSyncReturns} from 'node:child_process'
import {existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'

const scripts = resolve('images/agent')
const hasTmux = spawnSync('tmux', ['-V']).status === 0
const withTmux = hasTmux ? describe : describe.skip
const because = hasTmux ? '' : ' (skipped: tmux is not installed)'

let folder: string
let environment: Record<string, string>
let children: ChildProcess[]
const at = (...names: string[]) => join(folder, ...names)

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cage-agent-'))
  for (const name of ['home', 'task', 'bin']) mkdirSync(at(name))
  children = []
  environment = {
    PATH: `${at('bin')}:/usr/local/bin:/usr/bin:/bin`,
    HOME: at('home'),
    LANG: 'C.UTF-8',
    TERM: 'xterm-256color',
    GIT_CONFIG_SYSTEM: join(scripts, 'gitconfig'),
    CAGE_TASK: 'fix-login',
    CAGE_PROJECT: 'shop',
    CAGE_BRANCH: 'fix/login',
    CAGE_BASE: 'main',
    CAGE_REMOTE: at('up.git'),
    CAGE_EXISTING: '0',
    CAGE_AUTHOR_NAME: 'cage',
    CAGE_AUTHOR_EMAIL: 'cage@shop.invalid',
    CAGE_TASK_FILES: at('task'),
    CAGE_TMUX_SOCKET: at('tmux.sock'),
    CAGE_TMUX_CONF: join(scripts, 'tmux.conf'),
    CAGE_STOPPING: at('stopping'),
  }
  git('init', '-q', '-b', 'main', at('work'))
  writeFileSync(at('work', 'README.md'), 'shop\n')
  inWork('add', '.')
  inWork('-c', 'user.name=p', '-c', 'user.email=p@x', 'commit', '-qm', 'first')
  git('clone', '-q', '--bare', at('work'), at('up.git'))
})
afterEach(async () => {
  for (const child of children) {
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null)
      await new Promise((done) => child.once('close', done))
  }
  rmSync(folder, {recursive: true, force: true})
})

const git = (...args: string[]) => execFileSync('git', args, {env: environment}).toString().trim()
const inWork = (...args: string[]) => git('-C', at('work'), ...args)
const inClone = (...args: string[]) => git('-C', at('home', 'shop'), ...args)

function run(
  script: string,
  args: string[] = [],
  extra: Record<string, string> = {},
): SpawnSyncReturns<string> {
  return spawnSync(join(scripts, script), args, {
    env: {...environment, ...extra},
    encoding: 'utf8',
    timeout: 30_000,
  })
}
const argv = (name: 'argv' | 'resume', words: string[]) =>
  writeFileSync(at('task', name), words.join('\0') + '\0')
const state = () => JSON.parse(run('agent-state').stdout) as {state: string; exitCode: number | null}

describe('clone', () => {
  it('makes the branch from its base, tracking its own name, with the author set', () => {
    const {status, stdout} = run('clone')
    expect({status, stdout}).toMatchObject({status: 0, stdout: expect.stringContaining('fix/login')})
    expect(inClone('symbolic-ref', 'HEAD')).toBe('refs/heads/fix/login')
    expect(inClone('rev-parse', 'HEAD')).toBe(inWork('rev-parse', 'main'))
    expect(inClone('config', 'branch.fix/login.remote')).toBe('origin')
    expect(inClone('config', 'branch.fix/login.merge')).toBe('refs/heads/fix/login')
    expect(inClone('remote', 'get-url', 'origin')).toBe(at('up.git'))
    inClone('commit', '--allow-empty', '-qm', 'work')
    expect(inClone('log', '-1', '--format=%an <%ae>')).toBe('cage <cage@shop.invalid>')
    inClone('push', '-q')
    expect(git('-C', at('up.git'), 'rev-parse', 'fix/login')).toBe(inClone('rev-parse', 'HEAD'))
  })

  it('leaves a clone alone that is there', () => {
    run('clone')
    writeFileSync(at('home', 'shop', 'mine'), 'work')
    expect(run('clone')).toMatchObject({status: 0, stdout: expect.stringContaining('is there already')})
    expect(readFileSync(at('home', 'shop', 'mine'), 'utf8')).toBe('work')
  })

  it('begins again after it was killed in the middle', () => {
    mkdirSync(at('home', '.cage', 'clone', '.git'), {recursive: true})
    expect(run('clone').status).toBe(0)
    expect(inClone('rev-parse', 'HEAD')).toBe(inWork('rev-parse', 'main'))
  })

  it('goes on with an existing branch, and refuses to take one unasked', () => {
    inWork('switch', '-qc', 'fix/login')
    inWork('-c', 'user.name=p', '-c', 'user.email=p@x', 'commit', '--allow-empty', '-qm', 'earlier')
    inWork('push', '-q', at('up.git'), 'fix/login')
    expect(run('clone')).toMatchObject({status: 1, stderr: expect.stringContaining('--existing')})
    expect(existsSync(at('home', 'shop'))).toBe(false)
    expect(run('clone', [], {CAGE_EXISTING: '1'}).status).toBe(0)
    expect(inClone('rev-parse', 'HEAD')).toBe(inWork('rev-parse', 'HEAD'))
    expect(inClone('rev-parse', '--abbrev-ref', '@{upstream}')).toBe('origin/fix/login')
  })

  it('names a base that does not exist, without trying again', () => {
    const {status, stderr} = run('clone', [], {CAGE_BASE: 'nowhere'})
    expect(status).toBe(1)
    expect(stderr.trim()).toBe(`clone: the branch nowhere is not in ${at('up.git')}`)
  })

  it('gives up after five attempts and says why', () => {
    writeFileSync(at('bin', 'sleep'), `#!/bin/sh\necho "$1" >>'${at('slept')}'\n`, {mode: 0o755})
    const {status, stderr} = run('clone', [], {CAGE_REMOTE: at('none.git')})
    expect(status).toBe(1)
    expect(stderr).toContain(`cannot clone ${at('none.git')} after 5 attempts`)
    expect(readFileSync(at('slept'), 'utf8')).toBe('1\n2\n4\n8\n')
  })

  it('brings untracked files, over nothing that is tracked, and keeps them untracked', () => {
    mkdirSync(at('files', 'config'), {recursive: true})
    writeFileSync(at('files', 'config', '.env.test'), 'A=1\n')
    writeFileSync(at('files', 'config', '[a]*?.env'), 'B=1\n')
    writeFileSync(at('files', 'README.md'), 'changed\n')
    execFileSync('tar', ['-C', at('files'), '-cf', at('task', 'files'), '.'])
    expect(run('clone').status).toBe(0)
    expect(readFileSync(at('home', 'shop', 'config', '.env.test'), 'utf8')).toBe('A=1\n')
    expect(inClone('status', '--porcelain')).toBe('')
  })
})

describe('agent-state', () => {
  it('begins as starting and holds the last word', () => {
    expect(state()).toEqual({state: 'starting', exitCode: null})
    run('agent-state', ['working'])
    expect(state()).toEqual({state: 'working', exitCode: null})
    run('agent-state', ['failed', '3'])
    run('agent-state', ['waiting'])
    run('agent-state', ['done', '0'])
    expect(state()).toEqual({state: 'failed', exitCode: 3})
    expect(JSON.parse(readFileSync(at('home', '.cage', 'state.json'), 'utf8'))).toEqual({
      state: 'failed',
      exitCode: 3,
    })
  })

  it('refuses a word it does not know', () => {
    expect(run('agent-state', ['sleeping']).status).toBe(2)
  })

  it('says nothing on standard output, which a hook would hand to the model', () => {
    expect(run('agent-state', ['working'])).toMatchObject({status: 0, stdout: '', stderr: ''})
  })

  const root = process.getuid?.() === 0
  ;(root ? it : it.skip)(
    `still tells the end on a full volume${root ? '' : ' (skipped: needs root for a small mount)'}`,
    () => {
      const script = [
        `mount -t tmpfs -o size=64k tmpfs '${at('home')}'`,
        `'${scripts}/agent-state' working`,
        `! head -c 1M /dev/zero >'${at('home', 'big')}' 2>/dev/null`,
        `! echo more >'${at('home', 'more')}' 2>/dev/null`,
        `'${scripts}/agent-state' failed 28`,
        `'${scripts}/agent-state'`,
      ].join(' && ')
      const {stdout} = spawnSync('unshare', ['--mount', 'bash', '-c', script], {
        env: environment,
        encoding: 'utf8',
      })
      expect(JSON.parse(stdout)).toEqual({state: 'failed', exitCode: 28})
    },
  )
})

describe('claude', () => {
  const claude = (...args: string[]) => run('agents/claude', args)
  const settings = () =>
    JSON.parse(readFileSync(at('home', '.claude.json'), 'utf8')) as Record<string, unknown>
  const answered = {
    hasCompletedOnboarding: true,
    projects: {[join('HOME', 'shop')]: {hasTrustDialogAccepted: true}},
  }
  const expected = () => JSON.parse(JSON.stringify(answered).replace('HOME', at('home'))) as object

  it('answers the questions of the first start', () => {
    expect(claude('prepare').status).toBe(0)
    expect(settings()).toEqual(expected())
    expect(existsSync(at('home', '.claude'))).toBe(true)
  })

  it('keeps what Claude wrote, and replaces what is not well formed', () => {
    writeFileSync(at('home', '.claude.json'), '{"userID":"u","projects":{"/else":{"a":1}}}')
    claude('prepare')
    expect(settings()).toMatchObject({userID: 'u', hasCompletedOnboarding: true, projects: {'/else': {a: 1}}})
    writeFileSync(at('home', '.claude.json'), '{"userID":')
    expect(claude('prepare').status).toBe(0)
    expect(settings()).toEqual(expected())
  })

  it('goes on only when there is a conversation', () => {
    expect(claude('resumable').status).toBe(1)
    mkdirSync(at('home', '.claude', 'projects', '-home-agent-shop'), {recursive: true})
    writeFileSync(at('home', '.claude', 'projects', '-home-agent-shop', 'c.jsonl'), '{}')
    expect(claude('resumable').status).toBe(0)
  })
})

withTmux(`init and agent-run${because}`, () => {
  beforeEach(() => {
    run('clone')
    writeFileSync(at('task', 'agent'), 'shell\n')
  })

  function start(): ChildProcess {
    const child = spawn(join(scripts, 'init'), {env: environment, stdio: 'ignore'})
    children.push(child)
    return child
  }
  async function stop(child: ChildProcess): Promise<void> {
    child.kill('SIGTERM')
    await new Promise((done) => child.once('close', done))
  }
  async function until(what: string, probe: () => boolean): Promise<void> {
    for (let turn = 0; turn < 200; turn += 1) {
      if (probe()) return
      await sleep(50)
    }
    throw new Error(`never: ${what}\n${screen()}`)
  }
  const tmux = (...args: string[]) =>
    spawnSync('tmux', ['-S', at('tmux.sock'), ...args], {env: environment, encoding: 'utf8'})
  const screen = () => tmux('capture-pane', '-p', '-S', '-', '-t', 'agent').stdout
  const reached = (name: string) => until(name, () => state().state === name)
  const count = (file: string) =>
    existsSync(at(file)) ? readFileSync(at(file), 'utf8').trim().split('\n').length : 0

  it('runs the agent in the clone and keeps its last words and exit code', async () => {
    argv('argv', ['bash', '-c', 'pwd; echo "$1"; exit 3', 'sh', "it's\n${HOME}"])
    start()
    await reached('failed')
    expect(state()).toEqual({state: 'failed', exitCode: 3})
    await until('the end is shown', () => screen().includes('exit code 3'))
    expect(screen()).toContain(`${at('home', 'shop')}\nit's\n\${HOME}`)
  })

  it('never starts an ended agent again', async () => {
    argv('argv', ['bash', '-c', `echo run >>'${at('runs')}'`])
    argv('resume', ['bash', '-c', `echo run >>'${at('runs')}'`])
    const first = start()
    await reached('done')
    await stop(first)
    start()
    await until('the second init says so', () => screen().includes('the agent has ended'))
    tmux('kill-server')
    await until('the third session says so', () => screen().includes('the agent has ended'))
    expect(count('runs')).toBe(1)
    expect(state()).toEqual({state: 'done', exitCode: 0})
  })

  it('resumes an agent that was at work when the container was stopped', async () => {
    argv('argv', [
      'bash',
      '-c',
      `echo run >>'${at('runs')}'; trap 'exit 0' TERM; while :; do sleep 0.1; done`,
    ])
    argv('resume', ['bash', '-c', `echo resumed >>'${at('resumed')}'`])
    const first = start()
    await until('the agent runs', () => count('runs') === 1)
    await stop(first)
    expect(state()).toEqual({state: 'working', exitCode: null})
    start()
    await reached('done')
    expect([count('runs'), count('resumed')]).toEqual([1, 1])
  })

  it('resumes an agent whose container was killed', async () => {
    argv('argv', ['sleep', '1000'])
    argv('resume', ['true'])
    mkdirSync(at('home', '.cage'), {recursive: true})
    writeFileSync(at('home', '.cage', 'state.json'), '{"state":"waiting","exitCode":null}\n')
    start()
    await reached('done')
  })

  it('fails when it should go on and has nothing to go on with', async () => {
    argv('argv', ['true'])
    run('agent-state', ['working'])
    start()
    await reached('failed')
    expect(state()).toEqual({state: 'failed', exitCode: 1})
  })

  it('records the end of an agent that killed its own terminal', async () => {
    argv('argv', ['bash', '-c', `tmux -S '${at('tmux.sock')}' kill-server; sleep 100`])
    start()
    await reached('failed')
    expect(state()).toEqual({state: 'failed', exitCode: 129})
    await until('people can attach again', () => screen().includes('the agent has ended'))
  })

  it('runs the setup once, before the agent', async () => {
    writeFileSync(at('task', 'setup'), `echo setup >>'${at('setups')}'`)
    argv('argv', [
      'bash',
      '-c',
      `cat '${at('setups')}' >>'${at('seen')}'; trap 'exit 0' TERM; while :; do sleep 0.1; done`,
    ])
    argv('resume', ['true'])
    const first = start()
    await until('the agent runs', () => count('seen') === 1)
    await stop(first)
    start()
    await reached('done')
    expect(count('setups')).toBe(1)
  })

  it('does not start the agent after a failed setup', async () => {
    writeFileSync(at('task', 'setup'), 'false\necho went on')
    argv('argv', ['bash', '-c', `echo run >>'${at('runs')}'`])
    start()
    await reached('failed')
    await until('it is said', () => screen().includes('the setup failed with exit code 1'))
    expect(count('runs')).toBe(0)
  })

  it('tells a command that is not there from one that failed', async () => {
    argv('argv', ['no-such-program'])
    start()
    await reached('failed')
    expect(state()).toEqual({state: 'failed', exitCode: 127})
  })

  it('waits at first when an agent that says so itself got nothing to do', async () => {
    writeFileSync(at('task', 'agent'), 'claude\n')
    argv('argv', ['sleep', '1000'])
    start()
    await reached('waiting')
  })

  it('does not let the program inside reach past the terminal', async () => {
    argv('argv', ['sleep', '1000'])
    start()
    await reached('working')
    const option = (...args: string[]) => tmux('show-options', ...args).stdout.trim()
    expect(option('-sv', 'set-clipboard')).toBe('off')
    expect(option('-gwv', 'allow-passthrough')).toBe('off')
    expect(option('-gwv', 'allow-rename')).toBe('off')
    expect(option('-gv', 'set-titles')).toBe('off')
  })
})
