import {beforeEach, describe, expect, it} from '@jest/globals'
import {silentReporter} from '../../../../core/report.js'
import {runSteps} from '../../../../provision/pipeline.js'
import {networkPolicyStep, notedEnforcement} from '../../../../provision/steps/network-policy.js'
import type {Transport} from '../../../../provision/transport/transport.js'
import {FakeCluster} from '../../../support/fake-cluster.js'

const id = 'shop-1a2b3c4d'
const target = '10.152.183.44:443'
let cluster: FakeCluster
let boot: string
let looks: number

beforeEach(() => {
  cluster = new FakeCluster()
  boot = 'boot-1'
  looks = 0
  const namespace = `${id}-dispatcher`
  cluster.put({apiVersion: 'v1', kind: 'Namespace', metadata: {name: namespace}})
  cluster.put({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {name: 'dispatcher', namespace},
    spec: {clusterIP: '10.152.183.44'},
  })
})

/** `reaches` says whether the lookout reaches the dispatcher, given that a policy allows it. */
async function up(reaches: (allowed: boolean, look: number) => boolean, promised = true) {
  let now = 0
  const clock = {
    now: () => now,
    sleep: (ms: number) => {
      now += ms
      return Promise.resolve()
    },
  }
  const run = ({argv}: {argv: readonly string[]}) => {
    if (argv[0] === 'cat') return Promise.resolve({code: 0, stdout: Buffer.from(`${boot}\n`), stderr: ''})
    expect(argv).toEqual(['/usr/local/lib/cage/lookout.sh', target])
    const allowed = cluster.all('NetworkPolicy').length > 0
    const said = reaches(allowed, looks++) ? `${target}\n` : ''
    return Promise.resolve({code: 0, stdout: Buffer.from(said), stderr: ''})
  }
  const step = networkPolicyStep({
    id,
    clock,
    promised: () => Promise.resolve(promised),
    cluster: () => Promise.resolve(cluster),
    transport: () => Promise.resolve({run} as unknown as Transport),
  })
  const signal = new AbortController().signal
  const [result] = await runSteps([step], {reporter: silentReporter, clock, signal})
  return result?.changed
}

describe('whether NetworkPolicy is enforced', () => {
  it('is proved by one who is let in by a policy, and not without it', async () => {
    expect(await up((allowed) => allowed)).toBe(true)
    expect(await notedEnforcement(cluster, id)).toBe('enforced')
    expect(cluster.all('NetworkPolicy')).toEqual([])
  })

  it('is tried once for each start of the machine', async () => {
    await up((allowed) => allowed)
    looks = 0
    expect(await up((allowed) => allowed)).toBe(false)
    expect(looks).toBe(0)
    boot = 'boot-2'
    expect(await up((allowed) => allowed)).toBe(true)
  })

  it('gives the engine the moment it needs', async () => {
    let removed = 0
    await up((allowed, look) => (allowed ? look > 2 : removed++ < 3))
    expect(await notedEnforcement(cluster, id)).toBe('enforced')
  })

  it('is not proved by the presence of policies: who goes on getting in stops the way up', async () => {
    await expect(up(() => true)).rejects.toMatchObject({code: 'NETWORK_POLICY_OPEN'})
    expect(await notedEnforcement(cluster, id)).toBe('open')
    expect(cluster.all('NetworkPolicy')).toEqual([])
  })

  it('is not proved by silence that was there before, and is tried again', async () => {
    expect(await up(() => false)).toBe(true)
    expect(await notedEnforcement(cluster, id)).toBe('unproven')
    looks = 0
    await up((allowed) => allowed)
    expect(looks).toBeGreaterThan(0)
    expect(await notedEnforcement(cluster, id)).toBe('enforced')
  })

  it('is not asked of a cluster that promises nothing', async () => {
    expect(await up(() => true, false)).toBe(false)
    expect(looks).toBe(0)
  })
})
