import {createHash, randomBytes} from 'node:crypto'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {cage, cageJson, cageOk, eventually, git, inTask} from './harness.js'

interface Shown {
  name: string
  phase: string
  agent: {name: string; state: string; exitCode: number | null}
  counts?: {requests: number; denials: number}
}

const branch = 'test/life'
const show = (task = branch) => cageJson<Shown>(['task', 'show', task])

describe('the life of a task', () => {
  beforeAll(() => cageOk(['task', 'new', branch, '--agent', 'shell']), 300_000)
  afterAll(() => cage(['task', 'rm', branch, '--force']), 120_000)

  it('exec passes bytes, both streams and the exit code, in the root of the clone', async () => {
    const bytes = randomBytes(300_000)
    const {code, stdout, stderr} = await cage(
      ['task', 'exec', branch, '--', 'sh', '-c', 'sha256sum; pwd; id -u; echo problem >&2; exit 42'],
      {input: bytes},
    )
    expect(code).toBe(42)
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      `${createHash('sha256').update(bytes).digest('hex')}  -`,
      '/home/agent/shop',
      '1000',
    ])
    expect(stderr).toContain('problem')
    expect((await cage(['task', 'exec', branch, '--', 'no-such-program'])).code).toBe(127)
    expect((await cage(['task', 'exec', 'no-such-task', '--', 'true'])).code).toBe(255)
  })

  it('git is set up: author, origin, the branch and what it tracks', async () => {
    const {stdout} = await inTask(
      branch,
      'git config user.email; git remote get-url origin; git branch --show-current; git config branch.test/life.merge; git status --porcelain',
    )
    expect(stdout.split('\n').slice(1)).toEqual([
      'https://git.cage.internal/shop.git',
      branch,
      `refs/heads/${branch}`,
      '',
    ])
  })

  it('counts what the agent is refused, not what cage probed', async () => {
    expect((await show()).counts).toMatchObject({requests: 0, denials: 0, spend: {tokens: 0, usd: 0}})
    await inTask(
      branch,
      'git ls-remote origin; python3 -c "import socket; socket.getaddrinfo(\'evil.example\', 443)"',
    )
    const counts = await eventually('a denial is counted', async () => {
      const now = (await show()).counts
      return now && now.denials > 0 ? now : undefined
    })
    expect(counts.requests).toBeGreaterThan(0)
    const audit = await cageOk(['audit', '--task', branch, '--json'])
    expect(audit.split('\n').filter((line) => line.includes('evil.example')).length).toBeGreaterThan(0)
  })

  it('work comes home: ls-remote, diff, fetch, and the person’s own push', async () => {
    const {stdout} = await inTask(
      branch,
      'echo new > new.txt && git add new.txt && git commit -qm "Add new.txt" && git push -q && git rev-parse HEAD',
    )
    const tip = stdout.trim()
    expect(await git('ls-remote', 'cage', `refs/heads/${branch}`)).toBe(`${tip}\trefs/heads/${branch}`)
    const diff = await cageJson<{branch: string; commits: {id: string}[]; files: object[]}>([
      'task',
      'diff',
      branch,
    ])
    expect(diff).toMatchObject({
      branch,
      commits: [{id: tip}],
      files: [{path: 'new.txt', added: 1, removed: 0}],
    })
    expect(await cageOk(['task', 'diff', branch])).toContain('+new\n')
    await cageOk(['task', 'fetch', branch])
    expect(await git('rev-parse', `cage/${branch}`)).toBe(tip)
    await git('fetch', '--quiet', 'cage')
    expect(await git('for-each-ref', '--format=%(refname)', 'refs/tags')).toBe('')
    await git('push', '--quiet', 'cage', 'main:refs/heads/from-a-person')
    expect(await git('ls-remote', 'cage', 'refs/heads/from-a-person')).toContain(
      await git('rev-parse', 'main'),
    )
    await git('push', '--quiet', 'cage', ':refs/heads/from-a-person')
  })

  it('sync moves the hosted base and nothing else', async () => {
    const before = await git('rev-parse', 'main')
    const {from, to} = await cageJson<{from: string; to: string}>(['sync'])
    expect([from, to]).toEqual([before, before])
  })

  it('logs print the agent’s terminal as plain lines', async () => {
    const scripted = 'test/logs'
    await cageOk([
      'task',
      'new',
      scripted,
      '--agent',
      'shell',
      '--wait',
      '--',
      'sh',
      '-c',
      'printf "\\033[31mred\\033[0m\\nend\\n"',
    ])
    try {
      const lines = (await cageOk(['task', 'logs', scripted])).split('\n')
      expect(lines).toEqual(expect.arrayContaining(['red', 'end']))
      expect((await cageOk(['task', 'logs', scripted, '--follow'])).split('\n')).toEqual(
        expect.arrayContaining(['red', 'end']),
      )
      expect(await cageOk(['task', 'logs', scripted, '--container', 'sidecar'])).toContain('listening')
      expect((await show(scripted)).agent).toEqual({name: 'shell', state: 'done', exitCode: 0})
    } finally {
      await cage(['task', 'rm', scripted, '--force'])
    }
  }, 300_000)

  it('--wait is exit code 1 when the agent failed', async () => {
    const failing = 'test/failing'
    const {code, stdout} = await cage([
      'task',
      'new',
      failing,
      '--agent',
      'shell',
      '--wait',
      '--json',
      '--',
      'false',
    ])
    await cage(['task', 'rm', failing, '--force'])
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({task: {agent: {state: 'failed', exitCode: 1}}})
  }, 300_000)

  it('stop keeps the volume, start brings it back', async () => {
    await inTask(branch, 'echo kept > ~/kept && echo untracked > untracked')
    expect(await cageJson(['task', 'stop', branch])).toMatchObject({task: {phase: 'Stopped'}})
    expect((await cage(['task', 'exec', branch, '--', 'true'])).stderr).toContain('cage task start')
    expect((await cage(['task', 'logs', branch])).code).toBe(1)
    expect(await cageJson(['task', 'start', branch])).toMatchObject({task: {phase: 'Running'}})
    expect((await inTask(branch, 'cat ~/kept untracked; git log -1 --format=%s')).stdout).toBe(
      'kept\nuntracked\nAdd new.txt\n',
    )
  }, 300_000)

  it('rm asks for work that is not upstream; the audit stays', async () => {
    const doomed = 'test/doomed'
    await cageOk(['task', 'new', doomed, '--agent', 'shell'])
    const {name} = await show(doomed)
    await inTask(doomed, 'echo x > x; git add x; git commit -qm x; echo y > y')
    const refused = await cage(['task', 'rm', doomed, '--no-input'])
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('1 commit and 1 changed file')
    await cageOk(['task', 'rm', doomed, '--force'])
    expect((await cage(['task', 'show', doomed])).code).toBe(6)
    const audit = await cageOk(['audit', '--task', name, '--json'])
    expect(audit).toContain('"path":"/ready"')
    expect(audit).toContain('"op":"document.remove"')
  }, 300_000)

  it.each([
    ['main', 'is the base branch'],
    ['test/life/more', 'cannot exist beside'],
    ['TEST/life', 'only in upper and lower case'],
    [branch, 'belongs to task'],
    ['x..y', 'contains ..'],
  ])('task new %s is exit 2 and makes nothing', async (name, reason) => {
    const before = await cageJson<Shown[]>(['task', 'list'])
    const {code, stderr} = await cage(['task', 'new', name, '--agent', 'shell'])
    expect(stderr).toContain(reason)
    expect(code).toBe(2)
    expect((await cageJson<Shown[]>(['task', 'list'])).map((task) => task.name)).toEqual(
      before.map((task) => task.name),
    )
  })
})
