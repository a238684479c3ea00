import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {
  cage,
  cageJson,
  cageOk,
  eventually,
  git,
  inTask,
  killContainer,
  onMachine,
  startCage,
} from './harness.js'

interface Shown {
  name: string
  branch: string
  phase: string
  pod: string
  namespace: string
  agent: {state: string}
}

const branch = 'test/faults'
const show = () => cageJson<Shown>(['task', 'show', branch])
const tip = async () => (await git('ls-remote', 'cage', `refs/heads/${branch}`)).split('\t')[0]

async function push(text: string): Promise<string> {
  const {code, stdout, stderr} = await inTask(
    branch,
    `echo ${text} >> notes.txt && git add notes.txt && git commit -qm '${text}' && git push -q origin HEAD && git rev-parse HEAD`,
  )
  if (code !== 0) throw new Error(`push of ${text}: ${stderr}`)
  return stdout.trim()
}

const eventuallyPush = (text: string) =>
  eventually(
    `a push after ${text}`,
    async () => {
      const oid = await push(text)
      return (await tip()) === oid ? oid : undefined
    },
    90,
  )

describe('faults', () => {
  beforeAll(async () => {
    await cageOk(['task', 'new', branch, '--agent', 'shell'])
    await push('first')
  }, 240_000)
  afterAll(() => cage(['task', 'rm', branch, '--force']), 120_000)

  it.each(['kubelet', 'containerd'])('kill -9 of %s heals by itself; the task goes on', async (service) => {
    const before = (await show()).pod
    const killed = await onMachine(`pid=$(pgrep -o -x ${service}) && kill -9 "$pid" && echo killed`)
    expect(killed.stdout).toContain('killed')
    await eventuallyPush(service)
    expect((await show()).pod).toBe(before)
  })

  it('kill -9 of etcd heals by itself; what was there is there', async () => {
    const killed = await onMachine(`pid=$(pgrep -o -x etcd) && kill -9 "$pid" && echo killed`)
    expect(killed.stdout).toContain('killed')
    await eventually('the API answers', async () => ((await show()).phase === 'Running' ? true : undefined))
    await eventuallyPush('etcd')
  })

  it.each(['gate', 'git'])(
    'kill -9 of the dispatcher (%s) loses no commit that was acknowledged',
    async (container) => {
      const acknowledged = await push(`before ${container}`)
      const task = await show()
      const namespace = `${task.namespace}-dispatcher`
      const pods = await onMachine(`kubectl get pods -n ${namespace} -o 'jsonpath={.items[*].metadata.name}'`)
      await killContainer({namespace, pod: pods.stdout.trim()}, container)
      const next = await eventuallyPush(`after ${container}`)
      expect(await inTask(branch, `git merge-base --is-ancestor ${acknowledged} ${next}`)).toMatchObject({
        code: 0,
      })
      await git('fetch', '--quiet', 'cage')
      expect(await git('rev-parse', `cage/${branch}`)).toBe(next)
    },
  )

  it('kill -9 of cage while it makes a task leaves something that can be finished or removed', async () => {
    for (const delay of [100, 400, 800, 1500]) {
      const name = `killed-${delay}`
      const making = startCage(['task', 'new', name, '--agent', 'shell'])
      const ended = new Promise((done) => making.on('close', done))
      await new Promise((next) => setTimeout(next, delay))
      making.kill('SIGKILL')
      await ended
      const listed = await cageJson<{name: string}[]>(['task', 'list'])
      if (listed.some((task) => task.name === name)) await cageOk(['task', 'start', name])
      else await cageOk(['task', 'new', name, '--agent', 'shell'])
      expect(await inTask(name, 'git rev-parse --abbrev-ref HEAD')).toMatchObject({
        code: 0,
        stdout: `${name}\n`,
      })
      await cageOk(['task', 'rm', name, '--force'])
    }
  }, 400_000)

  it('down and up: the task, its volume and its branch are as before', async () => {
    await inTask(branch, 'echo kept > ~/kept.txt')
    const pushed = await push('before down')
    await cageOk(['down'])
    await cageOk(['up'])
    await eventually(
      'the task runs',
      async () => ((await show()).phase === 'Running' ? true : undefined),
      120,
    )
    expect(await inTask(branch, 'cat ~/kept.txt')).toMatchObject({code: 0, stdout: 'kept\n'})
    expect(await tip()).toBe(pushed)
    await push('after up')
  }, 400_000)

  it('a second up changes nothing', async () => {
    const {steps} = await cageJson<{steps: {name: string; changed: boolean}[]}>(['up'])
    expect(steps.filter(({changed}) => changed)).toEqual([])
  })
})
