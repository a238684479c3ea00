import {spawn, spawnSync} from 'node:child_process'
import {join, resolve} from 'node:path'
import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {itUnless} from '../support/when.js'
import {installed, obstacleOf, World} from './world.js'

interface Up {
  steps: {name: string; seconds: number; changed: boolean}[]
}

/** The newest patch of the minor version before the one that this package brings. */
const older = 'v1.35.4'

const obstacle = obstacleOf([
  [process.getuid?.() === 0, 'machine `local` needs root'],
  [installed('mmdebstrap'), 'mmdebstrap is missing'],
  [installed('slirp4netns'), 'slirp4netns is missing'],
  [installed('go', 'version'), 'no Go that compiles the older Kubernetes'],
])

/** The first run on a computer compiles the older Kubernetes: ten minutes of two cores. */
describe('local: a cluster of an older Kubernetes', () => {
  const test = (name: string, body: () => Promise<void>) => itUnless(obstacle, `local: ${name}`, body)
  let world: World
  let before = ''

  beforeAll(() => {
    if (obstacle !== undefined) return
    world = new World('{ driver: local, memory: 6GiB, disk: 30GiB }')
    const made = spawnSync('test/vm/older-cage.sh', [join(world.scratch, 'older'), older], {encoding: 'utf8'})
    if (made.status !== 0) throw new Error(made.stderr.slice(-2000))
  })
  afterAll(async () => {
    if (obstacle !== undefined) return
    await world.cage('destroy', '--confirm', 'shop')
    world.remove()
  })

  const olderCage = (...args: string[]) =>
    world.run(process.execPath, [join(world.scratch, 'older/bin/cage'), ...args])
  const inTask = (script: string) => world.ok('task', 'exec', 'first', '--', 'bash', '-c', script)
  const onNode = async (script: string) =>
    (await world.ok('machine', 'ssh', '--', 'bash', '-c', script)).trim()
  const versions = () =>
    onNode(`kubectl get nodes -o jsonpath='{.items[0].status.nodeInfo.kubeletVersion} '
      kubectl get --raw /version | grep -o '"gitVersion": "[^"]*"'
      kubectl -n kube-system get daemonset kube-proxy -o jsonpath='{.spec.template.spec.containers[0].image}'`)

  test('works, with a task and what that did not push', async () => {
    expect(await olderCage('up')).toMatchObject({code: 0})
    await world.ok('task', 'new', 'first', '--agent', 'shell')
    await inTask('head -c 5000000 /dev/urandom >unpushed; git commit -qm mine --allow-empty; sync')
    before = await inTask('sha256sum unpushed; git log --format=%H%s')
    expect((await versions()).match(/v1\.\d+\.\d+/g)).toEqual([older, older, older])
  })

  test('an upgrade that is killed in its middle is finished by the next up, and keeps the volumes', async () => {
    const child = spawn(process.execPath, [resolve('bin/cage'), 'up'], {
      cwd: world.repository,
      env: world.env,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const ended = new Promise<string | null>((next) => child.once('close', (_, signal) => next(signal)))
    child.stderr.on('data', (chunk: Buffer) => {
      if (chunk.includes(`from Kubernetes ${older}`)) setTimeout(() => child.kill('SIGKILL'), 3000)
    })
    expect(await ended).toBe('SIGKILL')
    await world.ok('up')
    const found = (await versions()).match(/v1\.\d+\.\d+/g) ?? []
    expect(new Set(found).size).toBe(1)
    expect(found).not.toContain(older)
    expect(await inTask('sha256sum unpushed; git log --format=%H%s')).toBe(before)
    expect(await onNode('ctr -n k8s.io images list -q')).not.toContain(older)
  })

  test('the work goes on after it, and up has nothing more to do', async () => {
    await inTask('git push -q origin HEAD')
    await world.ok('task', 'new', 'second', '--agent', 'shell')
    const {steps} = await world.json<Up>('up')
    expect(steps.filter(({changed}) => changed)).toEqual([])
  })

  test('the older cage refuses to take it back, and leaves it alone', async () => {
    const {code, stderr} = await olderCage('up')
    expect({code, stderr}).toEqual({code: 3, stderr: expect.stringContaining(older)})
    expect(await inTask('sha256sum unpushed')).toBe(`${before.split('\n')[0]}\n`)
  })
})
