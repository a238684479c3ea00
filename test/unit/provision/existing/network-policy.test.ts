import {beforeEach, describe, expect, it} from '@jest/globals'
import {silentReporter} from '../../../../core/report.js'
import {networkPolicyStep, notedEnforcement} from '../../../../provision/existing/network-policy.js'
import {runSteps} from '../../../../provision/pipeline.js'
import {FakeCluster} from '../../../support/fake-cluster.js'

const id = 'shop-1a2b3c4d'
const api = '10.96.0.1:443'
let cluster: FakeCluster
let now: number

/** `reaches` says whether a pod of that namespace reaches the API server right now. */
function world(reaches: (namespace: string, denied: boolean) => boolean): void {
  cluster = new FakeCluster()
  now = 0
  cluster.put({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {name: 'kubernetes', namespace: 'default'},
    spec: {clusterIP: '10.96.0.1'},
  })
  cluster.put({apiVersion: 'v1', kind: 'Namespace', metadata: {name: id}})
  cluster.onWrite((object) => {
    if (object.kind === 'Pod') cluster.put({...object, status: {phase: 'Running'}})
  })
  cluster.execScript = ({namespace, argv, stdout}) => {
    expect(argv.at(-1)).toBe(api)
    if (reaches(namespace, cluster.all('NetworkPolicy').length > 0)) stdout(`${api}\n`)
    return 0
  }
}

async function up(): Promise<boolean | undefined> {
  const clock = {
    now: () => now,
    sleep: (ms: number) => {
      now += ms
      return Promise.resolve()
    },
  }
  const step = networkPolicyStep({
    id,
    owner: () => Promise.resolve('me'),
    cluster: () => Promise.resolve(cluster),
    clock,
    probe: () =>
      Promise.resolve({projectId: id, traits: {pullPolicy: 'IfNotPresent'}, image: 'r.example/dispatcher:1'}),
  })
  const [result] = await runSteps([step], {
    reporter: silentReporter,
    clock,
    signal: new AbortController().signal,
  })
  // Nothing of the probe stays.
  expect(cluster.all('Namespace').map(({metadata}) => metadata.name)).toEqual([id])
  return result?.changed
}

const enforcing = (namespace: string, denied: boolean) => namespace === `${id}-probe` && !denied

describe('whether NetworkPolicy is enforced', () => {
  beforeEach(() => world(enforcing))

  it('is seen by a pod that is heard, silenced by a policy, and heard again without it', async () => {
    // The fake keeps the objects of a namespace that is gone.
    expect(await up()).toBe(true)
    expect(await notedEnforcement(cluster, id)).toMatchObject({found: 'enforced'})
    expect(cluster.calls.filter((call) => call.includes('NetworkPolicy'))).toEqual([
      `apply NetworkPolicy ${id}-probe/default-deny`,
      `delete NetworkPolicy ${id}-probe/default-deny`,
    ])
    expect(await up()).toBe(false)
  })

  it('is open when the policy changes nothing', async () => {
    world(() => true)
    await up()
    expect(await notedEnforcement(cluster, id)).toMatchObject({found: 'open'})
    expect(await up()).toBe(false)
  })

  it.each([
    ['never heard', () => false],
    ['not heard again', (namespace: string, denied: boolean) => enforcing(namespace, denied) && now < 2000],
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
