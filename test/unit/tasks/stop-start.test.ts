import {beforeEach, describe, expect, it} from '@jest/globals'
import {CageError} from '../../../core/errors.js'
import {annotation} from '../../../core/layout.js'
import {listTasks, showTask} from '../../../tasks/list.js'
import {stopTask} from '../../../tasks/stop-start.js'
import {findStored} from '../../../tasks/store.js'
import type {TaskRecord} from '../../../tasks/task.js'
import {unsavedWork} from '../../../tasks/unsaved-work.js'
import {waitUntilAgentEnds, waitUntilRunning} from '../../../tasks/wait.js'
import {keep, lifeIn, name} from '../../support/task-life.js'
import {TaskWorld} from '../../support/task-world.js'

let world: TaskWorld
beforeEach(() => {
  world = new TaskWorld()
})
const {make, find, start, remove} = lifeIn(() => world)

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
