import {readFileSync} from 'node:fs'
import {randomBytes} from 'node:crypto'
import {
  CoreV1Api,
  KubeConfig,
  PatchStrategy,
  setHeaderOptions,
  type ApiException,
} from '@kubernetes/client-node'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import type {Cluster} from '../../kube/cluster.js'
import {baseObjects} from '../../manifests/base.js'
import {dispatcherObjects} from '../../manifests/dispatcher.js'
import type {ClusterTraits} from '../../manifests/pod-shape.js'
import {taskPod} from '../../manifests/task-pod.js'
import {baseView, dispatcherView, ownCluster, taskPodView} from '../support/manifest-views.js'
import {mutated, podMutations, userNamespaceMutations} from '../support/pod-mutations.js'
import {connectToTestCluster, testKubeconfig} from '../support/real-cluster.js'

const run = randomBytes(4).toString('hex')
const withoutUsers: ClusterTraits = {...ownCluster, userNamespaces: false}

/** Namespaces of its own, pods only by dry run: nothing is scheduled. */
describe.each([
  {
    traits: ownCluster,
    projectId: `admission-${run}`,
    mutations: [...podMutations, ...userNamespaceMutations],
  },
  // The API itself refuses host namespaces beside user namespaces; here the policy has to.
  {traits: withoutUsers, projectId: `admission-old-${run}`, mutations: podMutations},
])('admission in $projectId', ({traits, projectId, mutations}) => {
  let cluster: Cluster
  let pod: KubeObject
  const objects = baseObjects(baseView({projectId, traits}))

  beforeAll(async () => {
    cluster = await connectToTestCluster()
    await cluster.apply(objects)
    pod = taskPod(taskPodView({projectId, traits}))
    // A policy takes a moment to reach the API server's cache.
    await expect(
      refusedWithin(10_000, () => cluster.create(mutated(pod, podMutations[0]!), {dryRun: true})),
    ).resolves.toBe(true)
  })

  afterAll(async () => {
    for (const {apiVersion, kind, metadata} of objects) {
      const isOwn = metadata.name.startsWith(projectId)
      if (metadata.namespace === undefined && isOwn)
        await cluster.delete({apiVersion, kind, name: metadata.name})
    }
    await cluster.close()
  })

  it('admits the task pod as it is built', async () => {
    await expect(cluster.create(pod, {dryRun: true})).resolves.toBe('created')
  })

  it('is a policy that the API server understands in every expression', async () => {
    for (const name of [`${projectId}-pods`, `${projectId}-dispatcher-pods`]) {
      const ref = {apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingAdmissionPolicy', name}
      const policy = await cluster.waitFor(ref, (object) => object?.['status'] !== undefined, {
        what: 'the policy is checked',
        deadlineMs: 30_000,
      })
      expect(policy).toMatchObject({status: {typeChecking: {}}})
      expect(policy?.['status']).not.toHaveProperty('typeChecking.expressionWarnings')
    }
  })

  it.each([...mutations])('refuses: $name', async (mutation) => {
    await expect(cluster.create(mutated(pod, mutation), {dryRun: true})).rejects.toThrow(CageError)
  })

  it('refuses most of them by its own policy, not only by validation of the API', async () => {
    const codes = await Promise.all(
      mutations.map((mutation) =>
        cluster.create(mutated(pod, mutation), {dryRun: true}).then(
          () => 'admitted',
          (error: unknown) => (error as CageError).code,
        ),
      ),
    )
    const byOthers = mutations.filter((_, index) => codes[index] !== 'ADMISSION_DENIED').map(({name}) => name)
    expect(byOthers).toEqual(traits.userNamespaces ? ['host network', 'host processes', 'host IPC'] : [])
  })

  it('refuses later changes and debug containers, and allows annotations', async () => {
    const {apiVersion, kind, metadata} = pod
    const ref = {apiVersion, kind, name: metadata.name, namespace: projectId}
    await cluster.create(pod)
    await expect(cluster.patch(ref, {metadata: {annotations: {note: 'x'}}})).resolves.toBeUndefined()
    await expect(cluster.patch(ref, {metadata: {labels: {'cage.internal/task': 'other'}}})).rejects.toThrow(
      /labels|name/,
    )
    await expect(cluster.patch(ref, {metadata: {labels: {more: 'x'}}})).rejects.toThrow(
      /labels of a pod do not change/,
    )
    const image = {
      spec: {
        containers: [
          {...(pod['spec'] as {containers: object[]}).containers[0], image: 'cage.local/agent:other'},
        ],
      },
    }
    await expect(cluster.patch(ref, image)).rejects.toThrow(/images of a pod do not change/)
    await expect(addDebugContainer(projectId, metadata.name)).resolves.toMatch(/no ephemeral containers/)
    await cluster.delete(ref, {gracePeriodSeconds: 0, wait: {deadlineMs: 60_000}})
  })

  it('refuses pods that a controller makes, and the shape of the other namespace', async () => {
    const other = {...structuredClone(pod), metadata: {...pod.metadata, namespace: `${projectId}-dispatcher`}}
    await expect(cluster.create(other, {dryRun: true})).rejects.toThrow(CageError)
  })

  it('admits the dispatcher as it is built, and refuses a changed one', async () => {
    const deployment = dispatcherObjects(dispatcherView({projectId, traits})).at(-1)!
    const {template} = deployment['spec'] as {
      template: {metadata: {labels: Record<string, string>}; spec: object}
    }
    const namespace = `${projectId}-dispatcher`
    const single = (spec: object): KubeObject => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {name: 'dispatcher-x', namespace, labels: template.metadata.labels},
      spec,
    })
    await expect(cluster.create(single(template.spec), {dryRun: true})).resolves.toBe('created')
    const dispatcherMutations: ((spec: Loose) => void)[] = [
      (spec) => spec.containers.push({...spec.containers[0]!, name: 'extra'}),
      (spec) => void (spec.containers[1]!['image'] = 'cage.local/agent:1'),
      (spec) => spec.containers[1]!.volumeMounts.push({name: 'tls', mountPath: '/tls'}),
      (spec) => void (spec.containers[1]!.securityContext['runAsUser'] = 64001),
      (spec) => void (spec.containers[0]!.volumeMounts[2]!['subPath'] = 'git'),
      (spec) => spec.volumes.push({name: 'more', emptyDir: {}}),
      (spec) => void (spec.automountServiceAccountToken = true),
    ]
    for (const change of dispatcherMutations) {
      const spec = structuredClone(template.spec) as Loose
      change(spec)
      await expect(cluster.create(single(spec), {dryRun: true})).rejects.toThrow(/ValidatingAdmissionPolicy/)
    }
  })
})

interface Loose {
  containers: {
    volumeMounts: Record<string, unknown>[]
    securityContext: Record<string, unknown>
    [field: string]: unknown
  }[]
  volumes: object[]
  automountServiceAccountToken: boolean
}

async function refusedWithin(milliseconds: number, attempt: () => Promise<unknown>): Promise<boolean> {
  const end = Date.now() + milliseconds
  for (;;) {
    const refused = await attempt().then(
      () => false,
      () => true,
    )
    if (refused || Date.now() > end) return refused
    await new Promise((next) => setTimeout(next, 200))
  }
}

/** The API server's sentence, which must be a refusal. */
async function addDebugContainer(namespace: string, name: string): Promise<string> {
  const config = new KubeConfig()
  config.loadFromString(readFileSync(testKubeconfig(), 'utf8'))
  const body = {
    spec: {
      ephemeralContainers: [
        {name: 'debug', image: 'cage.local/agent:1', securityContext: {runAsUser: 64000}},
      ],
    },
  }
  return config
    .makeApiClient(CoreV1Api)
    .patchNamespacedPodEphemeralcontainers(
      {name, namespace, body},
      setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch),
    )
    .then(
      () => 'admitted',
      (error: unknown) => (error as ApiException<string>).body,
    )
}
