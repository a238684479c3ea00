import {randomBytes} from 'node:crypto'
import {PassThrough} from 'node:stream'
import {text} from 'node:stream/consumers'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import type {KubeObject} from '../../core/kube-object.js'
import type {Cluster} from '../../kube/cluster.js'
import {connectToTestCluster} from '../support/real-cluster.js'
import {cage, cageJson, cageOk} from './harness.js'

const branch = 'test/fence'
/** No admission policy is bound to it: here the same pod may be made in another shape. */
const namespace = `without-fence-${randomBytes(4).toString('hex')}`

interface Container {
  name: string
  command: string[]
}
interface Spec {
  initContainers: Container[]
  containers: Container[]
  volumes: {name: string; [kind: string]: unknown}[]
}
interface Status {
  initContainerStatuses?: {name: string; state?: State; lastState?: State}[]
  containerStatuses?: {name: string; started?: boolean; state?: State}[]
}
interface State {
  running?: object
  terminated?: {exitCode: number; message?: string}
}
type Pod = KubeObject & {spec: Spec; status?: Status}

describe('the pod of a task in a namespace where nothing pins its shape', () => {
  let cluster: Cluster
  let original: Pod

  beforeAll(async () => {
    await cageOk(['task', 'new', branch, '--agent', 'shell'])
    const task = await cageJson<{name: string; pod: string; namespace: string}>(['task', 'show', branch])
    cluster = await connectToTestCluster()
    const piece = async (kind: string, name: string) => {
      const found = await cluster.get({apiVersion: 'v1', kind, name, namespace: task.namespace})
      if (!found) throw new Error(`${kind} ${name} is missing`)
      return found
    }
    original = (await piece('Pod', task.pod)) as Pod
    const copies = await Promise.all(
      [
        ['Secret', `grant-${task.name}`],
        ['ConfigMap', `config-${task.name}`],
      ].map(async ([kind = '', name = '']): Promise<KubeObject> => {
        const {data, binaryData} = (await piece(kind, name)) as KubeObject & Record<string, unknown>
        return {
          apiVersion: 'v1',
          kind,
          metadata: {name, namespace},
          data,
          ...(binaryData ? {binaryData} : {}),
        }
      }),
    )
    await cluster.apply([
      {apiVersion: 'v1', kind: 'Namespace', metadata: {name: namespace}},
      {apiVersion: 'v1', kind: 'ServiceAccount', metadata: {name: 'task', namespace}},
      ...copies,
    ])
  }, 300_000)
  afterAll(async () => {
    await cluster.delete(
      {apiVersion: 'v1', kind: 'Namespace', name: namespace},
      {wait: {deadlineMs: 120_000}},
    )
    await cluster.close()
    await cage(['task', 'rm', branch, '--force'])
  }, 300_000)

  /** The task's own pod, on memory instead of its volumes, with its shape changed. */
  async function start(
    name: string,
    change: (spec: Spec) => void,
  ): Promise<(done: (pod: Pod) => boolean) => Promise<Pod>> {
    const spec = structuredClone(original.spec)
    delete (spec as {nodeName?: string}).nodeName
    spec.volumes = spec.volumes.map((volume) =>
      'persistentVolumeClaim' in volume
        ? {name: volume.name, emptyDir: {medium: 'Memory', sizeLimit: '256Mi'}}
        : volume,
    )
    change(spec)
    const {labels = {}} = original.metadata
    await cluster.create({apiVersion: 'v1', kind: 'Pod', metadata: {name, namespace, labels}, spec})
    return async (done) =>
      (await cluster.waitFor<Pod>(
        {apiVersion: 'v1', kind: 'Pod', name, namespace},
        (pod) => pod !== undefined && done(pod),
        {what: name, deadlineMs: 150_000},
      ))!
  }

  const probeOf = ({status}: Pod) => status?.initContainerStatuses?.find(({name}) => name === 'probe')
  const probeEnded = (pod: Pod) => probeOf(pod)?.state?.terminated ?? probeOf(pod)?.lastState?.terminated
  const agentOf = ({status}: Pod) => status?.containerStatuses?.find(({name}) => name === 'agent')

  async function probeSaid(name: string): Promise<string> {
    const out = new PassThrough()
    const said = text(out)
    await cluster.logs({namespace, pod: name, container: 'probe', previous: false}, out)
    out.end()
    return said
  }

  it('starts its agent with the fence', async () => {
    const pod = await start('with', () => undefined)
    expect(agentOf(await pod((one) => agentOf(one)?.state?.running !== undefined))?.started).toBe(true)
    const said = await probeSaid('with')
    expect(said).toContain('probe: the fence holds')
    expect(said).not.toContain('FAIL')
  })

  it.each([
    ['no fence at all', (spec: Spec) => void spec.initContainers.shift()],
    [
      'a fence that leads names and connections to the sidecar and lets the rest out',
      (spec: Spec) => {
        const fence = spec.initContainers[0]
        if (fence)
          fence.command = [
            'sh',
            '-c',
            `${fence.command.join(' ')} && nft flush chain inet cage out && nft flush chain inet cage leave && nft 'add chain inet cage out { policy accept; }'`,
          ]
      },
    ],
    [
      'a fence that leads nothing to the sidecar',
      (spec: Spec) => {
        const fence = spec.initContainers[0]
        if (fence)
          fence.command = [
            'sh',
            '-c',
            `${fence.command.join(' ')} && nft flush chain inet cage redirect_out && nft flush chain inet cage out && nft flush chain inet cage leave && nft 'add chain inet cage out { policy accept; }'`,
          ]
      },
    ],
  ])('never starts its agent with %s', async (what, change) => {
    const name = `without-${what.length}`
    const pod = await start(name, change)
    const ended = await pod((one) => probeEnded(one) !== undefined)
    expect(probeEnded(ended)?.exitCode).toBe(1)
    const said = await probeSaid(name)
    expect(said).toMatch(
      /FAIL {2}(tcp [0-9.]+:[0-9]+ does not answer directly|udp does not leave|quic does not leave)/,
    )
    expect(said).toContain('the pod must not start')
    expect(agentOf(ended)).toMatchObject({started: false})
    expect(agentOf(ended)?.state?.running).toBeUndefined()
  })
})
