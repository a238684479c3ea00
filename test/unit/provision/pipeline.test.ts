import {describe, expect, it} from '@jest/globals'
import type {Clock} from '../../../core/clock.js'
import {CageError, ExitCode} from '../../../core/errors.js'
import type {Reporter} from '../../../core/report.js'
import {runSteps, type Step} from '../../../provision/pipeline.js'

function world() {
  const said: string[] = []
  const reporter: Reporter = {
    begin: (name) => said.push(`begin ${name}`),
    detail: (text) => said.push(text),
    done: (note) => said.push(note === undefined ? 'done' : `done: ${note}`),
    fail: () => said.push('fail'),
    info: () => undefined,
  }
  let now = 0
  const clock: Clock = {
    now: () => now,
    sleep: async (ms, signal) => {
      now += ms
      await new Promise((next) => setImmediate(next))
      signal?.throwIfAborted()
    },
  }
  const interrupt = new AbortController()
  return {said, interrupt, tools: {reporter, clock, signal: interrupt.signal}}
}

function step(name: string, parts: Partial<Step> = {}): Step {
  return {
    name,
    deadlineMs: 60_000,
    hints: [`look at ${name}`],
    check: () => Promise.resolve(true),
    act: () => Promise.resolve(undefined),
    ...parts,
  }
}

describe('runSteps', () => {
  it('does nothing where the check says that all is well', async () => {
    const {tools, said} = world()
    const act = () => Promise.reject(new Error('not asked for'))
    expect(await runSteps([step('machine', {act})], tools)).toEqual([
      {name: 'machine', seconds: 0, changed: false},
    ])
    expect(said).toEqual(['begin machine', 'done'])
  })

  it('acts, then verifies until the effect is there', async () => {
    const {tools, said} = world()
    let asked = 0
    const results = await runSteps(
      [
        step('cluster', {
          check: () => Promise.resolve(false),
          act: ({detail}) => {
            detail('kubeadm init')
            return Promise.resolve('installed')
          },
          verify: () => Promise.resolve(++asked === 3),
        }),
      ],
      tools,
    )
    expect(results).toEqual([{name: 'cluster', seconds: 0.5, changed: true}])
    expect(said).toEqual(['begin cluster', 'kubeadm init', 'done: installed'])
  })

  it('asks the check again when a step has no verification of its own', async () => {
    const {tools} = world()
    let done = false
    const check = () => Promise.resolve(done)
    const act = () => {
      done = true
      return Promise.resolve(undefined)
    }
    expect(await runSteps([step('files', {check, act})], tools)).toMatchObject([{changed: true}])
  })

  it('stops at the first failure, with the hints of its step', async () => {
    const {tools, said} = world()
    const check = () => Promise.reject(new CageError('the disk is full', {code: 'DISK'}))
    const never = step('later', {check: () => Promise.reject(new Error('must not run'))})
    await expect(runSteps([step('machine', {check}), never], tools)).rejects.toMatchObject({
      message: 'the disk is full',
      code: 'DISK',
      hints: ['look at machine'],
    })
    expect(said).toEqual(['begin machine', 'fail'])
  })

  it('keeps the hints of an error that has its own', async () => {
    const {tools} = world()
    const check = () => Promise.reject(new CageError('no root', {code: 'ROOT', hints: ['sudo'], exitCode: 3}))
    await expect(runSteps([step('preflight', {check})], tools)).rejects.toMatchObject({
      hints: ['sudo'],
      exitCode: 3,
    })
  })

  it('ends a step whose deadline passed, exit 5', async () => {
    const {tools} = world()
    const check = ({signal}: {signal: AbortSignal}) =>
      new Promise<boolean>((_, reject) =>
        signal.addEventListener('abort', () => reject(new Error('aborted'))),
      )
    await expect(runSteps([step('cluster', {check, deadlineMs: 5})], tools)).rejects.toMatchObject({
      code: 'STEP_DEADLINE',
      exitCode: ExitCode.deadline,
      hints: ['look at cluster', expect.stringContaining('cage up')],
    })
  })

  it('says interrupted, exit 130, when the person interrupts, and starts no further step', async () => {
    const {tools, interrupt} = world()
    const act = () => {
      interrupt.abort()
      return Promise.reject(new CageError('killed', {code: 'COMMAND_FAILED'}))
    }
    const steps = [step('machine', {check: () => Promise.resolve(false), act}), step('cluster')]
    await expect(runSteps(steps, tools)).rejects.toMatchObject({code: 'INTERRUPTED', exitCode: 130})
    await expect(runSteps(steps, tools)).rejects.toMatchObject({code: 'INTERRUPTED'})
  })

  it('runs to the end the second time, after a failure in the middle', async () => {
    const {tools} = world()
    const made = new Set<string>()
    let broken = true
    const making = (name: string) =>
      step(name, {
        check: () => Promise.resolve(made.has(name)),
        act: () => {
          if (name === 'b' && broken) return Promise.reject(new CageError('cut off', {code: 'CUT'}))
          made.add(name)
          return Promise.resolve(undefined)
        },
      })
    const steps = ['a', 'b', 'c'].map(making)
    await expect(runSteps(steps, tools)).rejects.toMatchObject({code: 'CUT'})
    broken = false
    expect(await runSteps(steps, tools)).toMatchObject([{changed: false}, {changed: true}, {changed: true}])
  })
})
