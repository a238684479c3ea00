import {beforeEach, describe, expect, it} from '@jest/globals'
import {CageError} from '../../../core/errors.js'
import {annotation} from '../../../core/layout.js'
import {taskName} from '../../../policy/branch.js'
import type {Cluster} from '../../../kube/cluster.js'
import {listTasks, showTask} from '../../../tasks/list.js'
import {newTask, type NewTaskRequest} from '../../../tasks/new.js'
import {removeTask, type KeepAudit} from '../../../tasks/remove.js'
import {startTask, stopTask} from '../../../tasks/stop-start.js'
import {findStored} from '../../../tasks/store.js'
import type {TaskRecord} from '../../../tasks/task.js'
import {unsavedWork} from '../../../tasks/unsaved-work.js'
import {waitUntilAgentEnds, waitUntilRunning} from '../../../tasks/wait.js'
import {TaskWorld} from '../../support/task-world.js'

const request: NewTaskRequest = {
  branch: 'fix/login',
  agent: 'shell',
  args: ['make', 'test'],
  existing: false,
  unattended: false,
}
const name = taskName('fix/login')
const keep: KeepAudit = async (_task, whilePodEnds) => whilePodEnds()
const everything = [
  `ConfigMap config-${name}`,
  `PersistentVolumeClaim home-${name}`,
  `PersistentVolumeClaim ledger-${name}`,
  `Pod task-${name}`,
  `Secret grant-${name}`,
  'document',
  `volume home-${name}`,
  `volume ledger-${name}`,
]

let world: TaskWorld
beforeEach(() => {
  world = new TaskWorld()
})
const make = (changes: Partial<NewTaskRequest> = {}, context = world.context()) =>
  newTask(context, world.project, world.dispatcher(context), {...request, ...changes})
const find = (task = name) => findStored(world.context(), task)
const start = async () => startTask(world.context(), world.project, world.dispatcher(), await find())
const remove = async () => removeTask(world.context(), world.dispatcher(), await find(), keep)

describe('task new', () => {
  it('makes the record first, the pod last, and everything between', async () => {
    expect(await make()).toBe(name)
    expect(world.pieces(name)).toEqual(everything)
    const writes = world.cluster.calls.filter((call) => /^(create|apply)/.test(call))
    expect(writes[0]).toBe(`create ConfigMap ${world.id}/config-${name}`)
    expect(writes.at(-1)).toBe(`create Pod ${world.id}/task-${name}`)
    await waitUntilRunning(world.context(), name, 1000)
    expect(await showTask(world.context(), 'fix/login')).toMatchObject({
      name,
      branch: 'fix/login',
      base: 'main',
      phase: 'Running',
      agent: {name: 'shell', state: 'working', exitCode: null},
      pod: `task-${name}`,
      namespace: world.id,
    })
  })

  it('makes volumes before their claims, which else wait for the controller’s next round', async () => {
    await make()
    expect(world.lateClaims).toEqual([])
  })

  it('needs few round trips', async () => {
    await make()
    // refs and the document are the two execs; writes are the record, its end, the pieces, the pod
    expect(world.cluster.calls.filter((call) => call.startsWith('exec'))).toHaveLength(2)
    expect(world.cluster.calls.length).toBeLessThanOrEqual(8)
  })

  it('gives the agent placeholders, and the values to the sidecar’s Secret alone', async () => {
    await make()
    const [secret] = world.cluster.all('Secret')
    const data = secret!['data'] as Record<string, string>
    expect(Buffer.from(data['credentials.json']!, 'base64').toString()).toContain('the real value')
    expect(Object.keys(data).sort()).toEqual(['credentials.json', 'egress.json', 'handle'])
    const others = ['ConfigMap', 'Pod', 'PersistentVolumeClaim'].flatMap((kind) => world.cluster.all(kind))
    expect(JSON.stringify(others)).not.toContain('the real value')
    expect(JSON.stringify(others)).toContain('placeholder-')
    expect(JSON.stringify(others)).not.toContain('cgt_')
  })

  it('hands over argv, prompt and setup byte for byte', async () => {
    await make({args: [], prompt: 'é\n"$(x)"'})
    const [config] = world.cluster.all('ConfigMap')
    const data = config!['binaryData'] as Record<string, string>
    const text = (key: string) => Buffer.from(data[key]!, 'base64').toString()
    expect(text('argv')).toBe('bash\0-lc\0é\n"$(x)"\0')
    expect(text('prompt')).toBe('é\n"$(x)"')
  })

  it.each([
    ['main', {}, 'is the base branch'],
    ['Main', {}, 'is the base branch'],
    ['trunk', {base: 'main'}, 'is protected'],
    ['done', {}, 'exists upstream already'],
    ['done/more', {}, 'cannot exist beside done'],
    ['DONE', {}, 'differs from done only in upper and lower case'],
    ['new', {existing: true}, 'is not upstream'],
    ['new', {base: 'gone'}, 'the base branch "gone" is not upstream'],
    ['a..b', {}, 'contains ..'],
    ['new', {agent: 'codex'}, 'cannot start the agent'],
    ['other', {}, 'belongs to task other already'],
  ])('refuses %s %j before anything exists', async (branch, changes, message) => {
    world.branches.set('done', 'b'.repeat(40))
    if (branch === 'trunk') world.branches.set('trunk', 'b'.repeat(40))
    if (branch === 'other') await make({branch: 'other'})
    const before = world.cluster.calls.length
    const context = world.context()
    // The default branch of the upstream is protected whatever the base is.
    const refs = branch === 'trunk' ? 'trunk' : 'main'
    const dispatcher = world.dispatcher(context)
    const real = dispatcher.refs.bind(dispatcher)
    dispatcher.refs = async (repository) => ({...(await real(repository)), defaultBranch: refs})
    await expect(
      newTask(context, world.project, dispatcher, {...request, branch, ...changes}),
    ).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(message) as unknown,
    })
    expect(world.cluster.calls.slice(before).filter((call) => !call.startsWith('exec'))).toEqual([])
  })

  it('continues a branch with --existing', async () => {
    world.branches.set('fix/login', 'b'.repeat(40))
    await make({existing: true})
    const [pod] = world.cluster.all('Pod').filter(({metadata}) => metadata.name.startsWith('task-'))
    expect(JSON.stringify(pod)).toContain('{"name":"CAGE_EXISTING","value":"1"}')
  })

  it('stops for a missing credential before anything exists, but for a bad branch first', async () => {
    world.credentialError = new CageError('no credential', {code: 'CREDENTIAL_MISSING', exitCode: 3})
    await expect(make()).rejects.toMatchObject({exitCode: 3})
    expect(world.pieces(name)).toEqual([])
    await expect(make({branch: 'main'})).rejects.toMatchObject({exitCode: 2})
  })

  it.each([
    [`create ConfigMap`, `create ConfigMap shop-1a2b3c4d/config-${name}`],
    ['Secret and claims', `apply Secret shop-1a2b3c4d/grant-${name}`],
    ['a claim', `apply PersistentVolumeClaim shop-1a2b3c4d/ledger-${name}`],
    ['the pod', `create Pod shop-1a2b3c4d/task-${name}`],
  ])('leaves nothing behind when %s cannot be made', async (_what, call) => {
    world.cluster.fail(call, new CageError('refused', {code: 'ADMISSION_DENIED', exitCode: 4}))
    await expect(make()).rejects.toMatchObject({code: 'ADMISSION_DENIED'})
    expect(world.pieces(name)).toEqual([])
    expect(await make()).toBe(name)
  })

  it('leaves nothing behind when a volume cannot be made or the person interrupts', async () => {
    const full = world.context()
    full.volumes.ensure = () => Promise.reject(new CageError('disk full', {code: 'DISK_FULL'}))
    await expect(make({}, full)).rejects.toMatchObject({code: 'DISK_FULL'})
    expect(world.pieces(name)).toEqual([])
  })
})

/** The process dies in the middle of its nth call: nothing after that happens, clean-up neither. */
function killedAfter(cluster: Cluster, calls: number): {cluster: Cluster; count: () => number} {
  let made = 0
  const killed = () => new CageError('killed', {code: 'KILLED'})
  const mortal = new Proxy(cluster, {
    get(target, property, receiver) {
      const value: unknown = Reflect.get(target, property, receiver)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (++made > calls) return Promise.reject(killed())
        return (value as (...rest: unknown[]) => unknown).apply(target, args)
      }
    },
  })
  return {cluster: mortal, count: () => made}
}

describe('kill -9', () => {
  it('anywhere in task new leaves what start completes and rm removes', async () => {
    const whole = killedAfter(world.cluster, Infinity)
    await make({}, world.context({cluster: whole.cluster}))
    const total = whole.count()
    expect(total).toBeGreaterThan(6)
    for (let calls = 0; calls < total; calls++) {
      for (const then of ['start', 'rm'] as const) {
        world = new TaskWorld()
        const mortal = world.context({cluster: killedAfter(world.cluster, calls).cluster})
        await expect(make({}, mortal)).rejects.toThrow('killed')
        const left = world.pieces(name)
        if (!left.includes(`ConfigMap config-${name}`)) {
          expect(left).toEqual([])
          expect(await make()).toBe(name)
          continue
        }
        await expect(make()).rejects.toMatchObject({
          code: 'TASK_EXISTS',
          exitCode: 2,
          hints: [expect.stringContaining('cage '), expect.stringContaining('cage task rm')] as unknown,
        })
        if (then === 'rm') {
          // Without a pod nothing was worked on: nobody has to be asked.
          if (!left.includes(`Pod task-${name}`))
            expect(await unsavedWork(world.context(), await find())).toEqual({commits: 0, files: 0})
          await remove()
          expect(world.pieces(name)).toEqual([])
        } else {
          await start()
          await waitUntilRunning(world.context(), name, 1000)
          expect(world.pieces(name)).toEqual(everything)
        }
      }
    }
  })

  it('anywhere in task rm leaves what rm finishes', async () => {
    for (let calls = 0; ; calls++) {
      world = new TaskWorld()
      await make()
      const context = world.context({cluster: killedAfter(world.cluster, calls).cluster})
      const failed = await removeTask(context, world.dispatcher(context), await find(), keep).catch(
        (error: unknown) => error,
      )
      if (failed === undefined) {
        expect(calls).toBeGreaterThan(5)
        break
      }
      if (world.pieces(name).includes(`ConfigMap config-${name}`)) await remove()
      expect(world.pieces(name)).toEqual([])
    }
  })

  it('anywhere in task start leaves what start completes', async () => {
    for (let calls = 0; ; calls++) {
      world = new TaskWorld()
      await make()
      await stopTask(world.context(), await find(), keep)
      const context = world.context({cluster: killedAfter(world.cluster, calls).cluster})
      const failed = await startTask(context, world.project, world.dispatcher(context), await find()).catch(
        (error: unknown) => error,
      )
      if (failed === true) {
        expect(calls).toBeGreaterThan(4)
        break
      }
      await start()
      expect(world.pieces(name)).toEqual(everything)
      expect((await showTask(world.context(), name)).phase).toBe('Running')
    }
  })
})

describe('stop and start', () => {
  it('keeps the volume, remembers the agent, and takes the grant of now', async () => {
    await make()
    const before = world.cluster.all('Secret')[0]!
    await stopTask(world.context(), await find(), keep)
    expect(world.pieces(name)).not.toContain(`Pod task-${name}`)
    expect(world.pieces(name)).toContain(`volume home-${name}`)
    expect(await showTask(world.context(), name)).toMatchObject({phase: 'Stopped', agent: {state: 'working'}})
    expect(await start()).toBe(true)
    expect(await start()).toBe(false)
    const config = world.cluster.all('ConfigMap')[0]!
    expect(config.metadata.annotations?.[annotation.revision]).toBe('2')
    expect(world.documents.get(name)?.head.revision).toBe(2)
    const after = world.cluster.all('Secret')[0]!
    const handle = (secret: typeof before) => (secret['data'] as Record<string, string>)['handle']
    expect(handle(after)).not.toBe(handle(before))
    const record = JSON.parse(config.metadata.annotations?.[annotation.record] ?? '') as TaskRecord
    const pod = JSON.stringify(
      world.cluster.all('Pod').find(({metadata}) => metadata.name === `task-${name}`),
    )
    expect(pod).toContain(record.placeholders['anthropic'])
    expect(record.agentAtStop).toBeUndefined()
  })

  it('keeps the placeholder that programs may have stored', async () => {
    await make()
    const placeholder = (await find()).record.placeholders
    await stopTask(world.context(), await find(), keep)
    await start()
    expect((await find()).record.placeholders).toEqual(placeholder)
  })

  it('mends a pod that is gone', async () => {
    await make()
    await world.cluster.delete({apiVersion: 'v1', kind: 'Pod', name: `task-${name}`, namespace: world.id})
    expect(await showTask(world.context(), name)).toMatchObject({phase: 'Failed', reason: 'its pod is gone'})
    expect(await start()).toBe(true)
    expect((await showTask(world.context(), name)).phase).toBe('Running')
  })

  it('says what to do when the node of its pod is gone', async () => {
    await make()
    const lost = new CageError('not within 120 s', {code: 'CLUSTER_DEADLINE', exitCode: 5})
    world.cluster.fail(`delete Pod ${world.id}/task-${name}`, lost)
    await expect(stopTask(world.context(), await find(), keep)).rejects.toMatchObject({
      code: 'CLUSTER_DEADLINE',
      message: expect.stringContaining('its node does not answer') as unknown,
      hints: [expect.anything(), expect.stringContaining('kubectl delete node')] as unknown,
    })
  })

  it('stops twice', async () => {
    await make()
    await stopTask(world.context(), await find(), keep)
    await stopTask(world.context(), await find(), keep)
    expect((await find()).view.phase).toBe('Stopped')
  })
})

describe('waiting', () => {
  it('ends with the failing container’s last words, escaped', async () => {
    world.podsRun = false
    await make()
    const pod = world.cluster.all('Pod').find(({metadata}) => metadata.name === `task-${name}`)!
    world.cluster.put({
      ...pod,
      status: {
        phase: 'Pending',
        initContainerStatuses: [{name: 'probe', state: {terminated: {exitCode: 2}}}],
      },
    })
    world.cluster.logText = () => 'udp to 10.0.0.1 answered\u001b]52;c;eA==\u0007\n'
    const failure = waitUntilRunning(world.context(), name, 1000)
    await expect(failure).rejects.toMatchObject({code: 'TASK_START_FAILED'})
    await expect(failure).rejects.toThrow(
      'probe ended with exit code 2\n  probe: udp to 10.0.0.1 answered\\u{1b}]52;c;eA==\\u{7}',
    )
  })

  it('ends at once when its volume lies on a node that takes no pods', async () => {
    world.podsRun = false
    await make()
    const pod = world.cluster.all('Pod').find(({metadata}) => metadata.name === `task-${name}`)!
    const message = '0/2 nodes are available: 1 node(s) had volume node affinity conflict'
    const conditions = [{type: 'PodScheduled', status: 'False', message}]
    world.cluster.put({...pod, status: {phase: 'Pending', conditions}})
    await expect(waitUntilRunning(world.context(), name, 60_000)).rejects.toMatchObject({
      code: 'TASK_STRANDED',
      message: expect.stringContaining('its volume lies on a node') as unknown,
    })
  })

  it('ends at its deadline with the step it stood at', async () => {
    world.podsRun = false
    await make()
    await expect(waitUntilRunning(world.context(), name, 1)).rejects.toMatchObject({
      exitCode: 5,
      message: expect.stringContaining('it stands at') as unknown,
    })
  })

  it('for the agent ends with what the agent said', async () => {
    await make()
    const answers = ['working', 'waiting', 'done']
    world.agent = (call) => {
      const state = answers.shift() ?? 'done'
      call.stdout(JSON.stringify({state, exitCode: state === 'done' ? 0 : null}))
      return 0
    }
    expect(await waitUntilAgentEnds(world.context(), name)).toEqual({state: 'done', exitCode: 0})
  })
})

describe('finding', () => {
  it('takes a name, a branch, or the only one', async () => {
    await expect(findStored(world.context(), undefined)).rejects.toMatchObject({
      code: 'TASK_NOT_FOUND',
      exitCode: 6,
    })
    await make()
    for (const wanted of [name, 'fix/login', undefined])
      expect((await findStored(world.context(), wanted)).name).toBe(name)
    await make({branch: 'second'})
    await expect(findStored(world.context(), undefined)).rejects.toMatchObject({
      code: 'TASK_AMBIGUOUS',
      exitCode: 2,
    })
    await expect(findStored(world.context(), 'third')).rejects.toMatchObject({exitCode: 6})
    expect((await listTasks(world.context())).map((task) => task.name).sort()).toEqual([name, 'second'])
  })

  it('keeps feature/a, feature-a and feature_a apart', async () => {
    const names = [await make({branch: 'feature-a'}), await make({branch: 'feature_a'})]
    names.push(await make({branch: 'feature/a'}))
    expect(new Set(names).size).toBe(3)
    expect((await findStored(world.context(), 'feature_a')).record.branch).toBe('feature_a')
  })

  it('shows a task whose record cannot be read, and removes it', async () => {
    await make()
    const config = world.cluster.all('ConfigMap')[0]!
    world.cluster.put({
      ...config,
      metadata: {...config.metadata, annotations: {...config.metadata.annotations, [annotation.record]: '{'}},
    })
    expect(await listTasks(world.context())).toMatchObject([{name, branch: 'fix/login', phase: 'Failed'}])
    expect(await unsavedWork(world.context(), await find())).toBeUndefined()
    await remove()
    expect(world.pieces(name)).toEqual([])
  })
})

describe('the dispatcher', () => {
  it('that is not there is a precondition', async () => {
    const context = world.context({id: 'other-00000000'})
    await expect(world.dispatcher(context).refs('shop.git')).rejects.toMatchObject({
      code: 'DISPATCHER_NOT_READY',
      exitCode: 3,
    })
  })

  it('that counts as ready and does not run yet is asked again, and what it refuses is not', async () => {
    let calls = 0
    world.cluster.execScript = (call) => {
      calls++
      if (calls < 3) throw new CageError('cannot run node', {code: 'EXEC_NOT_STARTED', exitCode: 255})
      call.stdout(JSON.stringify({head: 'refs/heads/main', refs: {'refs/heads/main': '1'.repeat(40)}}))
      return 0
    }
    const {branches} = await world.dispatcher().refs('shop.git')
    expect([[...branches.keys()], calls]).toEqual([['main'], 3])
    world.cluster.execScript = () => {
      calls++
      throw new CageError('lost', {code: 'EXEC_LOST', exitCode: 255})
    }
    await expect(world.dispatcher().refs('shop.git')).rejects.toMatchObject({code: 'EXEC_LOST'})
    expect(calls).toBe(4)
  })

  it('tells branches of a fork from what tasks start from', async () => {
    const [own, base] = ['1', '2'].map((digit) => ({'refs/heads/main': digit.repeat(40)}))
    const origin = {
      head: 'refs/heads/trunk',
      refs: {...base, 'refs/heads/trunk': '3'.repeat(40)},
      before: base,
    }
    world.cluster.execScript = (call) => {
      call.stdout(JSON.stringify({head: 'refs/heads/main', refs: own, origin}))
      return 0
    }
    const {branches, bases, before, defaultBranch} = await world.dispatcher().refs('github.com/bot/app.git')
    expect([branches.get('main'), [...bases.keys()], before.size, defaultBranch]).toEqual([
      '1'.repeat(40),
      ['main', 'trunk'],
      1,
      'trunk',
    ])
  })

  it('that finds no fork is a precondition, with what to do', async () => {
    world.cluster.execScript = (call) => {
      call.stdout(JSON.stringify({error: {code: 'FORK_MISSING', message: 'none', hints: ['Fork it.']}}))
      return 1
    }
    await expect(world.dispatcher().fork()).rejects.toMatchObject({
      code: 'FORK_MISSING',
      exitCode: 3,
      hints: ['Fork it.'],
    })
  })

  it('answers only when it was asked and said something that can be read', async () => {
    const answers = () => world.dispatcher().answers()
    world.cluster.execScript = (call) => {
      call.stdout(JSON.stringify({held: []}))
      return 0
    }
    expect(await answers()).toBe(true)
    world.cluster.execScript = () => 1
    expect(await answers()).toBe(false)
    world.cluster.execScript = () => {
      throw new CageError('cannot run node', {code: 'EXEC_NOT_STARTED', exitCode: 255})
    }
    expect(await answers()).toBe(false)
  })

  it('that refuses says why, escaped', async () => {
    world.cluster.execScript = (call) => {
      call.stdout(JSON.stringify({error: {code: 'X', message: 'no\u001b[31m', hints: []}}))
      return 1
    }
    await expect(world.dispatcher().refs('shop.git')).rejects.toThrow('refused refs: no\\u{1b}[31m')
  })
})
