import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {cage, cageJson, cageOk, git, inTask} from './harness.js'

/** Branches that were pushed stay upstream when their tasks are removed. */
const run = Date.now().toString(36)
const branches = Array.from({length: 10}, (_, index) => `ten-${run}/${index}`)
const patient = {timeoutMs: 500_000}

/** With the `task` section that every project has: nothing is said in cage.yaml. */
describe('ten tasks at once', () => {
  beforeAll(async () => {
    await Promise.all(branches.map((branch) => cageOk(['task', 'new', branch, '--agent', 'shell'], patient)))
  }, 600_000)
  afterAll(async () => {
    await Promise.all(branches.map((branch) => cage(['task', 'rm', branch, '--force'], patient)))
  }, 600_000)

  it('all run, in pods of their own', async () => {
    const tasks = await cageJson<{branch: string; phase: string; pod: string}[]>(['task', 'list'])
    const ten = tasks.filter(({branch}) => branches.includes(branch))
    expect(ten.map(({phase}) => phase)).toEqual(branches.map(() => 'Running'))
    expect(new Set(ten.map(({pod}) => pod)).size).toBe(10)
  })

  it('each pushes its own branch, all in the same moment, and none another', async () => {
    const pushed = await Promise.all(
      branches.map((branch, index) =>
        inTask(
          branch,
          `echo '${branch}' >mine.txt && git add mine.txt && git commit -qm '${branch}' && git push -q origin HEAD &&
          ! git push -q origin HEAD:refs/heads/ten-${run}/${(index + 1) % 10} 2>/dev/null && git rev-parse HEAD`,
          patient,
        ),
      ),
    )
    expect(pushed.map(({code, stderr}) => ({code, stderr}))).toEqual(
      branches.map(() => ({code: 0, stderr: ''})),
    )
    const refs = await git('ls-remote', 'cage', `refs/heads/ten-${run}/*`)
    expect(refs.split('\n')).toEqual(
      branches.map((branch, index) => `${pushed[index]?.stdout.trim() ?? ''}\trefs/heads/${branch}`),
    )
  }, 600_000)
})
