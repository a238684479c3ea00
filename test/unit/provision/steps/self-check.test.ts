import {describe, expect, it} from '@jest/globals'
import {CageError} from '../../../../core/errors.js'
import type {Cluster} from '../../../../kube/cluster.js'
import {selfCheckStep} from '../../../../provision/steps/self-check.js'
import type {Transport} from '../../../../provision/transport/transport.js'

const denied = new CageError('denied', {code: 'ADMISSION_DENIED'})

/** Runs the check on a cluster that gives these answers to a privileged pod, the last one for ever. */
async function check(answers: (CageError | undefined)[], open = ''): Promise<{tried: number}> {
  let tried = 0
  let now = 0
  const create = () => {
    const answer = answers[Math.min(tried++, answers.length - 1)]
    return answer ? Promise.reject(answer) : Promise.resolve('created')
  }
  const run = () => Promise.resolve({code: 0, stdout: Buffer.from(open), stderr: ''})
  const step = selfCheckStep({
    id: 'shop-0a1b2c3d',
    clock: {
      now: () => now,
      sleep: (ms) => {
        now += ms
        return Promise.resolve()
      },
    },
    cluster: () => Promise.resolve({create} as unknown as Cluster),
    machine: {
      transport: () => Promise.resolve({run} as unknown as Transport),
      closed: () => Promise.resolve(['10.0.0.1:6443']),
    },
  })
  await step.check({signal: new AbortController().signal, detail: () => undefined})
  return {tried}
}

describe('the self-check', () => {
  it('passes where a privileged pod is refused and nothing answers', async () => {
    expect(await check([denied])).toEqual({tried: 1})
  })

  it('gives a policy that was written just now the moment that it needs', async () => {
    expect(await check([undefined, undefined, denied])).toEqual({tried: 3})
  })

  it('refuses when the policy never acts, when the answer is no proof, and when the firewall is open', async () => {
    await expect(check([undefined])).rejects.toMatchObject({code: 'ADMISSION_OPEN'})
    await expect(check([new CageError('x', {code: 'CLUSTER_UNREACHABLE'})])).rejects.toMatchObject({
      code: 'CLUSTER_UNREACHABLE',
    })
    await expect(check([denied], '10.0.0.1:6443\n')).rejects.toMatchObject({code: 'FIREWALL_OPEN'})
  })
})
