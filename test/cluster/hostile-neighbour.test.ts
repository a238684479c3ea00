import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {cage, cageJson, cageOk, eventually, git, inTask, onMachine} from './harness.js'

interface Shown {
  name: string
  phase: string
  pod: string
  namespace: string
}

/** A branch that was pushed stays upstream when its task is removed. */
const run = Date.now().toString(36)
const hostile = `test/hostile-${run}`
const neighbour = `test/neighbour-${run}`
const show = () => cageJson<Shown>(['task', 'show', hostile])

/** Processes of the hostile task's pod and its limit, as the machine counts them. */
async function processes(): Promise<number> {
  const {namespace, pod} = await show()
  const {stdout} = await onMachine(`
    uid=$(kubectl get pod -n ${namespace} ${pod} -o 'jsonpath={.metadata.uid}')
    cat "$(find /sys/fs/cgroup -path "*pod$uid/pids.current" | head -n 1)"`)
  return Number(stdout)
}

/** What the others must not notice: a push of the neighbour lands, and the cluster answers. */
async function undisturbed(text: string): Promise<void> {
  const {code, stdout, stderr} = await inTask(
    neighbour,
    `echo '${text}' >>notes.txt && git add notes.txt && git commit -qm '${text}' && git push -q origin HEAD && git rev-parse HEAD`,
  )
  expect({code, stderr}).toEqual({code: 0, stderr: ''})
  expect((await git('ls-remote', 'cage', `refs/heads/${neighbour}`)).split('\t')[0]).toBe(stdout.trim())
  expect(await cageJson(['status'])).toMatchObject({cluster: {ready: true}, dispatcher: {ready: true}})
}

describe('a hostile task', () => {
  beforeAll(async () => {
    await cageOk(['task', 'new', neighbour, '--agent', 'shell'])
    await cageOk(['task', 'new', hostile, '--agent', 'shell'])
  }, 300_000)
  afterAll(async () => {
    await cage(['task', 'rm', hostile, '--force'])
    await cage(['task', 'rm', neighbour, '--force'])
  }, 300_000)

  it('may not have more processes, whether its agent runs or a person’s exec', async () => {
    const limits = await Promise.all(
      ['agent', 'exec'].map((who) =>
        inTask(
          hostile,
          who === 'agent' ? 'grep processes /proc/1/limits' : 'ulimit -Hu; ulimit -u unlimited',
        ),
      ),
    )
    expect(limits[0]?.stdout).toMatch(/Max processes +1536 +1536/)
    expect(limits[1]).toMatchObject({stdout: '1536\n', code: 1})
  })

  it('with a full volume, a memory hog and a fork bomb at once disturbs neither the cluster nor a push', async () => {
    const {stdout} = await inTask(
      hostile,
      `dd if=/dev/zero of=$HOME/full bs=1M 2>/dev/null; df --output=pcent $HOME | tail -1
      hog='while :; do python3 -c "x = bytearray(16 << 30); x[::4096] = b\\"1\\" * len(x[::4096])"; done'
      setsid bash -c "$hog" </dev/null >/dev/null 2>&1 &
      setsid perl -e '1 while 1 + 0 * (fork // 0)' </dev/null >/dev/null 2>&1 &`,
    )
    expect(stdout.trim()).toBe('100%')
    await eventually('the bomb has gone off', async () => ((await processes()) > 1500 ? true : undefined))
    await undisturbed('beside the bomb')
    expect(await processes()).toBeGreaterThan(1500)
    // What cage itself needs in its pod still works.
    const [, row] = (await cageOk(['task', 'list'])).split('\n').filter((line) => /hostile|TASK/.test(line))
    expect(row).toMatch(/Running .* [0-9]+ +[0-9]+ /)
    expect(await cageOk(['audit', '--task', hostile])).toContain('git-upload-pack')
  }, 600_000)

  it('is stopped while the bomb goes off, and starts again on its full volume', async () => {
    await cageOk(['task', 'stop', hostile])
    expect(await show()).toMatchObject({phase: 'Stopped'})
    expect(await cageOk(['audit', '--task', hostile])).toContain('sidecar: stopped')
    await cageOk(['task', 'start', hostile])
    expect((await inTask(hostile, 'df --output=pcent $HOME | tail -1; git status -sb')).stdout).toMatch(
      /^100%\n## test\/hostile/,
    )
  }, 300_000)

  it('with a log flood disturbs neither the cluster nor a push', async () => {
    await inTask(hostile, "setsid bash -c 'yes flood >/proc/1/fd/1' </dev/null >/dev/null 2>&1 &")
    const logs = async () => {
      const {stdout} = await onMachine('du -sm /var/log/pods/*_task-*hostile*')
      return Number(stdout.split('\t')[0])
    }
    await eventually('logs are written', async () => ((await logs()) > 10 ? true : undefined))
    await undisturbed('beside the flood')
    await undisturbed('still beside the flood')
    // Cut while it is written, or the end of the pod that writes it; never the end of the machine's disk.
    expect(await logs()).toBeLessThan(1024)
  }, 300_000)

  it('is removed while a bomb goes off; nothing of it stays but its branch and its audit', async () => {
    const {name} = await show()
    // The flood may have ended its pod already.
    await cageOk(['task', 'stop', hostile])
    await cageOk(['task', 'start', hostile])
    await inTask(hostile, `setsid perl -e '1 while 1 + 0 * (fork // 0)' </dev/null >/dev/null 2>&1 &`)
    await eventually('the bomb has gone off', async () => ((await processes()) > 1500 ? true : undefined))
    await cageOk(['task', 'rm', hostile, '--force'])
    expect((await cage(['task', 'show', hostile])).code).toBe(6)
    expect(await onMachine(`/usr/local/lib/cage/volume.sh list | grep -c hostile`)).toMatchObject({
      stdout: '0\n',
    })
    expect(await cageOk(['audit', '--task', name])).toContain('sidecar: stopped')
    await undisturbed('after it is gone')
  }, 300_000)
})
