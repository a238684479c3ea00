import {beforeEach, describe, expect, it} from '@jest/globals'
import {silentReporter} from '../../../../core/report.js'
import {networkPolicyStep, notedEnforcement} from '../../../../provision/steps/network-policy.js'
import {runSteps} from '../../../../provision/pipeline.js'
import {FakeCluster} from '../../../support/fake-cluster.js'

const id = 'shop-1a2b3c4d'
const dispatcher = '10.96.0.44:443'
let cluster: FakeCluster
let now: number

interface Policies {
  allowed: boolean
  denied: boolean
}
type Reaches = (policies: Policies, namespace: string) => boolean

/** `reaches` says whether a pod of that namespace reaches the dispatcher right now. */
function world(reaches: Reaches): void {
  cluster = new FakeCluster()
  now = 0
  const namespace = `${id}-dispatcher`
  const spec = {clusterIP: '10.96.0.44'}
  cluster.put({apiVersion: 'v1', kind: 'Service', metadata: {name: 'dispatcher', namespace}, spec})
  cluster.put({apiVersion: 'v1', kind: 'Namespace', metadata: {name: id}})
  cluster.onWrite((object) => {
    if (object.kind === 'Pod') cluster.put({...object, status: {phase: 'Running'}})
  })
  cluster.execScript = ({namespace: from, argv, stdout}) => {
    expect(argv.at(-1)).toBe(dispatcher)
    const there = cluster.all('NetworkPolicy').map(({metadata}) => metadata.name)
    const policies = {allowed: there.includes('cage-probe'), denied: there.includes('default-deny')}
    if (reaches(policies, from)) stdout(`${dispatcher}\n`)
    return 0
  }
}

async function up(engine: 'none' | 'promised' | 'unknown' = 'unknown'): Promise<boolean | undefined> {
  const clock = {
    now: () => now,
    sleep: (ms: number) => {
      now += ms
      return Promise.resolve()
    },
  }
  const step = networkPolicyStep({
    id,
    engine: () => Promise.resolve(engine),
    owner: () => Promise.resolve('me'),
    cluster: () => Promise.resolve(cluster),
    clock,
    probe: () =>
      Promise.resolve({projectId: id, traits: {pullPolicy: 'IfNotPresent'}, image: 'r.example/dispatcher:1'}),
  })
  const signal = new AbortController().signal
  try {
    const [result] = await runSteps([step], {reporter: silentReporter, clock, signal})
    return result?.changed
  } finally {
    // Nothing of the probe stays.
    expect(cluster.all('Namespace').map(({metadata}) => metadata.name)).toEqual([id])
    expect(cluster.all('NetworkPolicy').filter(({metadata}) => metadata.name === 'cage-probe')).toEqual([])
  }
}

const enforcing: Reaches = ({allowed, denied}, namespace) => namespace === `${id}-probe` && allowed && !denied

describe('whether NetworkPolicy is enforced', () => {
  beforeEach(() => world(enforcing))

  it('is seen by a pod that one policy lets in and another silences', async () => {
    // The fake keeps the objects of a namespace that is gone.
    expect(await up()).toBe(true)
    expect(await notedEnforcement(cluster, id)).toMatchObject({found: 'enforced'})
    expect(cluster.calls.filter((call) => call.includes('NetworkPolicy'))).toEqual([
      `apply NetworkPolicy ${id}-dispatcher/cage-probe`,
      `apply NetworkPolicy ${id}-probe/default-deny`,
      `delete NetworkPolicy ${id}-probe/default-deny`,
      `delete NetworkPolicy ${id}-dispatcher/cage-probe`,
      `delete NetworkPolicy ${id}-dispatcher/cage-probe`,
    ])
    expect(await up()).toBe(false)
  })

  it.each<[string, Reaches]>([
    ['no policy acts', () => true],
    ['nobody is kept from going out', ({allowed}) => allowed],
    ['nobody is kept from coming in', ({denied}) => !denied],
  ])('is open when %s', async (_what, reaches) => {
    world(reaches)
    await up()
    expect(await notedEnforcement(cluster, id)).toMatchObject({found: 'open'})
    expect(await up()).toBe(false)
  })

  it('stops the way up each time where the engine promises it', async () => {
    world(() => true)
    await expect(up('promised')).rejects.toMatchObject({code: 'NETWORK_POLICY_OPEN'})
    await expect(up('promised')).rejects.toMatchObject({code: 'NETWORK_POLICY_OPEN'})
    expect(await notedEnforcement(cluster, id)).toMatchObject({found: 'open'})
  })

  it('is tried again until it is proved where the engine promises it', async () => {
    world(() => false)
    expect(await up('promised')).toBe(true)
    expect(await up('promised')).toBe(true)
  })

  it('is not asked of a cluster that has no engine', async () => {
    expect(await up('none')).toBe(false)
    expect(cluster.calls.filter((call) => call.includes('Pod'))).toEqual([])
  })

  it.each<[string, Reaches]>([
    ['never heard', () => false],
    ['not heard again', (policies, namespace) => enforcing(policies, namespace) && now < 2000],
  ])('is unproven when the pod is %s', async (_what, reaches) => {
    world(reaches)
    await up()
    expect(await notedEnforcement(cluster, id)).toMatchObject({found: 'unproven'})
  })

  it.each([
    ['enforced', enforcing, 23 * 3600_000, 24 * 3600_000],
    ['open', () => true, 10 * 60_000, 15 * 60_000],
  ] as const)('that was %s is looked at again once it is old', async (_found, reaches, young, old) => {
    world(reaches)
    await up()
    now += young
    expect(await up()).toBe(false)
    now += old
    expect(await up()).toBe(true)
  })

  it('is looked at when what is noted is not a finding', async () => {
    const annotations = {'cage.internal/network-policy': 'enforced'}
    await cluster.patch({apiVersion: 'v1', kind: 'Namespace', name: id}, {metadata: {annotations}})
    expect(await notedEnforcement(cluster, id)).toBeUndefined()
    expect(await up()).toBe(true)
  })
})
