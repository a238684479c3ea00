import {mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import Attach from '../../cli/commands/attach.js'
import Audit from '../../cli/commands/audit.js'
import TaskExec from '../../cli/commands/task/exec.js'
import TaskList from '../../cli/commands/task/list.js'
import TaskApprove from '../../cli/commands/task/approve.js'
import TaskReject from '../../cli/commands/task/reject.js'
import TaskLogs from '../../cli/commands/task/logs.js'
import TaskNew from '../../cli/commands/task/new.js'
import TaskRm from '../../cli/commands/task/rm.js'
import TaskShow from '../../cli/commands/task/show.js'
import TaskStop from '../../cli/commands/task/stop.js'
import {lineHash} from '../../tasks/audit/chain.js'
import {newTask} from '../../tasks/new.js'
import {FakeProject} from '../support/fake-project.js'
import {TaskWorld} from '../support/task-world.js'

let world: TaskWorld
let project: FakeProject

beforeEach(() => {
  world = new TaskWorld()
  project = new FakeProject(world)
})
afterEach(() => project.remove())

const make = (branch: string) =>
  newTask(world.context(), world.project, world.dispatcher(), {
    branch,
    agent: 'shell',
    args: [],
    existing: false,
    unattended: false,
  })

/** Records of a hash chain, as the sidecar writes them. */
function chain(...events: object[]): string {
  let prev = '0'.repeat(64)
  return events
    .map((event, index) => {
      const line = JSON.stringify({v: 1, seq: index + 1, prev, ...event})
      prev = lineHash(line)
      return `${line}\n`
    })
    .join('')
}
const denied = {
  time: '2026-01-02T03:04:05.000Z',
  kind: 'request',
  decision: 'deny',
  reason: 'no_rule',
  host: 'evil.example',
}

describe('task list and show', () => {
  it('says how to begin when there is no task', async () => {
    const {code, stdout} = await project.run(TaskList)
    expect({code, stdout}).toEqual({
      code: 0,
      stdout: expect.stringContaining('cage task new <branch>') as unknown,
    })
    expect(JSON.parse((await project.run(TaskList, '--json')).stdout)).toEqual([])
  })

  it('shows the same fields in both, as a table and as JSON', async () => {
    await make('login')
    const {stdout} = await project.run(TaskList)
    expect(stdout).toMatch(/^TASK +BRANCH +PHASE +AGENT +STATE/)
    expect(stdout).toMatch(/login +login +Running +shell +working/)
    const [listed] = JSON.parse((await project.run(TaskList, '--json')).stdout) as unknown[]
    expect(listed).toEqual(JSON.parse((await project.run(TaskShow, 'login', '--json')).stdout))
    expect(listed).toEqual({
      name: 'login',
      branch: 'login',
      base: 'main',
      phase: 'Running',
      agent: {name: 'shell', state: 'working', exitCode: null},
      pod: 'task-login',
      namespace: world.id,
      created: '2026-01-01T00:00:00Z',
    })
    expect((await project.run(TaskShow)).stdout).toMatch(/pod +shop-1a2b3c4d\/task-login/)
  })

  it('escapes what a pod says', async () => {
    await make('login')
    const pod = world.cluster.all('Pod').find(({metadata}) => metadata.name === 'task-login')!
    const message = 'evil\u001b]52;c;eA==\u0007\u202e'
    world.cluster.put({...pod, status: {phase: 'Failed', message}})
    const {stdout} = await project.run(TaskShow)
    expect(stdout).toContain('evil\\u{1b}]52;c;eA==\\u{7}\\u{202e}')
    expect(stdout).not.toContain('\u001b')
  })

  it('ends with 6 for a task that is not there, also as JSON', async () => {
    const {code, stderr} = await project.run(TaskShow, 'nothing')
    expect(code).toBe(6)
    expect(stderr).toContain('there is no task "nothing"')
    const json = await project.run(TaskShow, 'nothing', '--json')
    expect(json.code).toBe(6)
    expect(JSON.parse(json.stdout)).toEqual({
      error: {code: 'TASK_NOT_FOUND', message: 'there is no task "nothing"', hints: [expect.any(String)]},
    })
  })
})

describe('task new', () => {
  it.each([
    [['x', '--prompt', ' '], 'the prompt is empty'],
    [['x', '--prompt-file', '/nothing/there'], 'cannot read the prompt from /nothing/there'],
    [['x', '--timeout', 'soon'], '--timeout is not a duration: "soon"'],
    [['x', '--prompt', 'a', '--prompt-file', 'b'], 'cannot also be provided'],
    [['x', '--attach', '--wait'], 'cannot also be provided'],
    [['x', 'make', 'test'], 'Unexpected argument'],
    [[], 'Missing 1 required arg'],
  ])('%j is exit 2', async (argv, message) => {
    const {code, stderr} = await project.run(TaskNew, ...argv)
    expect(stderr.replace(/\s+/g, ' ')).toContain(message)
    expect(code).toBe(2)
    expect(world.cluster.calls).toEqual([])
  })

  it('needs a terminal to attach', async () => {
    const {code, stderr} = await project.run(TaskNew, 'x', '--attach')
    expect(stderr).toContain('attach needs a terminal')
    expect(code).not.toBe(0)
    expect(world.cluster.calls).toEqual([])
  })
})

describe('attach and exec', () => {
  it.each([
    ['attach to no task', Attach, ['nothing'], 'there is no task'],
    ['exec in no task', TaskExec, ['nothing', '--', 'true'], 'there is no task'],
    ['exec without a command', TaskExec, ['login'], 'there is no command'],
    ['exec with an unknown flag', TaskExec, ['login', '--wrong', '--', 'true'], '--wrong'],
  ])('%s is 255', async (_name, command, argv, message) => {
    const {code, stderr} = await project.run(command, ...argv)
    expect(stderr).toContain(message)
    expect(code).toBe(255)
  })

  it('attach without a terminal is 255 and says what to use', async () => {
    await make('login')
    const {code, stderr} = await project.run(Attach, 'login')
    expect(code).toBe(255)
    expect(stderr).toContain('attach needs a terminal')
  })

  it('exec in a stopped task is 255', async () => {
    await make('login')
    await project.run(TaskStop, 'login')
    const {code, stderr} = await project.run(TaskExec, '--', 'true')
    expect(code).toBe(255)
    expect(stderr).toContain('cage task start login')
  })
})

describe('task stop and rm', () => {
  it('keeps the audit, and shows the task as stopped', async () => {
    await make('login')
    world.ledger = chain(denied)
    const {code, stdout} = await project.run(TaskStop, 'login', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({task: {name: 'login', phase: 'Stopped'}})
    const [file] = readdirSync(project.files.audit)
    expect(readFileSync(join(project.files.audit, file!), 'utf8')).toBe(chain(denied))
    expect(readdirSync(project.files.audit)).toHaveLength(1)
  })

  it('refuses to lose work without a yes, names it, and removes nothing', async () => {
    await make('login')
    world.agent = (call) => {
      if (call.argv.join(' ').includes('rev-list')) call.stdout('2\n1\n')
      return 0
    }
    const {code, stderr} = await project.run(TaskRm, 'login', '--no-input')
    expect(code).toBe(2)
    expect(stderr).toContain('2 commits and 1 changed file of task login are not upstream')
    expect(world.pieces('login')).toContain('Pod task-login')
    expect((await project.run(TaskRm, 'login', '--force')).code).toBe(0)
    expect(world.pieces('login')).toEqual(['volume home-login', 'volume ledger-login'])
  })

  it('asks when nobody can tell, and does not when nothing is lost', async () => {
    await make('login')
    world.agent = () => 1
    expect((await project.run(TaskRm, 'login')).stderr).toContain('nobody can tell now')
    world.agent = (call) => {
      if (call.argv.join(' ').includes('rev-list')) call.stdout('0\n0\n')
      return 0
    }
    const {code, stdout} = await project.run(TaskRm, 'login', '--json')
    expect({code, result: JSON.parse(stdout) as unknown}).toEqual({
      code: 0,
      result: {task: {name: 'login', branch: 'login'}, removed: true},
    })
  })

  it('keeps the volumes when the audit cannot be read, until the person says that it may be lost', async () => {
    await make('login')
    world.agent = (call) => {
      if (call.argv.join(' ').includes('rev-list')) call.stdout('0\n0\n')
      return 0
    }
    world.ledger = undefined
    const {code, stderr} = await project.run(TaskRm, 'login')
    expect(code).toBe(1)
    expect(stderr).toContain('the audit of task login cannot be read')
    expect(world.pieces('login')).toContain('PersistentVolumeClaim ledger-login')
    expect((await project.run(TaskRm, 'login', '--force')).code).toBe(0)
    expect((await project.run(TaskShow, 'login')).code).toBe(6)
  })
})

describe('task logs', () => {
  it('prints the agent’s terminal', async () => {
    await make('login')
    world.agent = (call) => {
      if (call.argv.join(' ').includes('capture-pane')) call.stdout('$ make test\nok\n')
      return 0
    }
    expect((await project.run(TaskLogs, 'login')).stdout).toBe('$ make test\nok\n')
  })

  it('falls back to the container’s own log, and prints the sidecar’s', async () => {
    await make('login')
    world.agent = () => 1
    world.cluster.logText = ({container}) => `log of ${container}\n`
    expect((await project.run(TaskLogs, 'login')).stdout).toBe('log of agent\n')
    expect((await project.run(TaskLogs, '--container', 'sidecar')).stdout).toBe('log of sidecar\n')
    expect((await project.run(TaskLogs, '--container', 'etcd')).code).toBe(2)
  })
})

describe('task approve and reject', () => {
  const request = '01JTEST'
  const waiting = {
    request,
    task: 'login',
    at: '2026-01-02T03:04:05.000Z',
    repository: 'shop.git',
    commands: [{old: '0'.repeat(40), new: 'a'.repeat(40), ref: 'refs/heads/login'}],
    findings: [
      {rule: 'github-token', type: 'blob', object: 'b'.repeat(40), path: 'a\u001b[31m.txt', line: 3},
    ],
  }

  beforeEach(() => make('login'))

  it('shows what waits, escaped, and decides the push that was named', async () => {
    world.held = [waiting]
    const {code, stdout} = await project.run(TaskApprove, 'login', '--request', request)
    expect(code).toBe(0)
    expect(stdout).toContain('refs/heads/login to aaaaaaaaaa')
    expect(stdout).toContain('github-token in a\\u{1b}[31m.txt line 3, object bbbbbbbbbb')
    expect(world.decided).toEqual([{op: 'held.decide', task: 'login', request, approve: true}])
    const json = await project.run(TaskReject, '--json', '--request', request)
    expect(JSON.parse(json.stdout)).toMatchObject({task: 'login', request, rejected: true})
    expect(world.decided.at(-1)).toMatchObject({approve: false})
  })

  it('decides nothing without a terminal or a request, and says when nothing waits', async () => {
    world.held = [waiting]
    const {code, stderr} = await project.run(TaskApprove, 'login')
    expect({code, stderr}).toEqual({
      code: 2,
      stderr: expect.stringContaining(`cage task approve login --request ${request}`),
    })
    world.held = []
    expect((await project.run(TaskApprove, 'login', '--request', request)).code).toBe(6)
    expect(world.decided).toEqual([])
  })
})

describe('audit', () => {
  const journal = chain({
    ts: '2026-01-02T03:04:06.000Z',
    phase: 'outcome',
    op: 'push',
    task: 'login',
    decision: 'deny',
  })

  beforeEach(async () => {
    await make('login')
    world.ledger = chain(denied)
    world.journal = journal
  })

  it('merges sidecars and dispatcher by time, as lines and as JSON lines', async () => {
    const {code, stdout} = await project.run(Audit)
    expect(code).toBe(0)
    expect(stdout.split('\n')).toEqual([
      '2026-01-02T03:04:05.000Z  login  deny    request evil.example: no_rule',
      '2026-01-02T03:04:06.000Z  login  deny    push',
      '',
    ])
    const lines = (await project.run(Audit, '--json')).stdout.trim().split('\n')
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({source: 'sidecar', task: 'login', seq: 1, ...denied}),
      expect.objectContaining({source: 'dispatcher', task: 'login', op: 'push'}),
    ])
  })

  it('still tells after rm', async () => {
    await project.run(TaskRm, 'login', '--force')
    const {code, stdout} = await project.run(Audit, '--task', 'login')
    expect(code).toBe(0)
    expect(stdout).toContain('evil.example')
    expect((await project.run(Audit, '--task', 'other')).stdout).toBe('')
  })

  it('chooses by time', async () => {
    expect((await project.run(Audit, '--since', '2026-01-02T03:04:06Z')).stdout).not.toContain('evil.example')
    expect((await project.run(Audit, '--since', '1m')).stdout).toBe('')
    expect((await project.run(Audit, '--since', 'yesterday')).code).toBe(2)
  })

  it('chooses by kind', async () => {
    world.journal = chain(
      {ts: '2026-01-02T03:04:06.000Z', phase: 'event', op: 'start'},
      {ts: '2026-01-02T03:04:07.000Z', phase: 'decision', op: 'rest', task: 'login', decision: 'allow'},
      {ts: '2026-01-02T03:04:08.000Z', phase: 'outcome', op: 'push', task: 'login', decision: 'allow'},
    )
    const shown = async (...kinds: string[]) => {
      const args = kinds.flatMap((kind) => ['--kind', kind])
      const lines = (await project.run(Audit, '--json', ...args)).stdout.trim().split('\n')
      return lines.map((line) => (JSON.parse(line || '{}') as {seq?: number; source?: string}).source)
    }
    expect(await shown('denial')).toEqual(['sidecar'])
    expect(await shown('request')).toEqual(['sidecar'])
    expect(await shown('push')).toEqual(['dispatcher'])
    expect(await shown('push', 'api', 'event')).toEqual(['dispatcher', 'dispatcher', 'dispatcher'])
    expect((await project.run(Audit, '--kind', 'nonsense')).code).toBe(2)
  })

  it('notices a record that was changed, and a chain that lost its end', async () => {
    expect((await project.run(Audit)).code).toBe(0)
    world.ledger = chain({...denied, reason: 'allowed'})
    const changed = await project.run(Audit)
    expect(changed.code).toBe(1)
    expect(changed.stderr).toContain('record 1 is not the one that was here before')
    world.ledger = ''
    expect((await project.run(Audit)).stderr).toContain('it ends at record 0, but had 1 before')
  })

  it('notices a kept copy that was changed', async () => {
    mkdirSync(project.files.audit, {recursive: true})
    writeFileSync(
      join(project.files.audit, 'old.20260101T000000Z.jsonl'),
      chain(denied, denied).replace('evil', 'good'),
    )
    const {code, stderr} = await project.run(Audit)
    expect(code).toBe(1)
    expect(stderr).toContain('sidecar:old.20260101T000000Z: record 2 does not follow')
  })
})
