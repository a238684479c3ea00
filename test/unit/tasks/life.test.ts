import {beforeEach, describe, expect, it} from '@jest/globals'
import {CageError} from '../../../core/errors.js'
import type {Cluster} from '../../../kube/cluster.js'
import {showTask} from '../../../tasks/list.js'
import {newTask} from '../../../tasks/new.js'
import {removeTask} from '../../../tasks/remove.js'
import {startTask, stopTask} from '../../../tasks/stop-start.js'
import {unsavedWork} from '../../../tasks/unsaved-work.js'
import {waitUntilRunning} from '../../../tasks/wait.js'
import {everything, keep, lifeIn, name, request} from '../../support/task-life.js'
import {TaskWorld} from '../../support/task-world.js'

let world: TaskWorld
beforeEach(() => {
  world = new TaskWorld()
})
const {make, find, start, remove} = lifeIn(() => world)

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
