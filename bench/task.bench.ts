/**
 * `cage task new` until the agent can be attached to, against a plain pod with the same images and the same number of
 * containers on the same cluster, in turns. Ours includes the start of the CLI; the plain pod is one API call.
 */
import {spawn} from 'node:child_process'
import {readdirSync} from 'node:fs'
import {join, resolve} from 'node:path'
import type {KubeObject} from '../core/kube-object.js'
import {clusterNames} from '../core/layout.js'
import {connect} from '../kube/connect.js'
import setup from '../test/cluster/setup.mjs'
import teardown from '../test/cluster/teardown.mjs'
import {alternate, median, minimum, report} from './measure.js'

const ROUNDS = Number(process.argv[2] ?? 5)
const MOST_RATIO = 2
const NAMESPACE = 'cage-bench'

interface PodContainer {
  name: string
  image: string
  imagePullPolicy?: string
  restartPolicy?: string
}
interface Pod extends KubeObject {
  spec: {containers: PodContainer[]; initContainers: PodContainer[]}
  status?: {conditions?: {type: string; status: string}[]}
}

await setup()
try {
  await measure()
} finally {
  await teardown()
}

async function measure(): Promise<void> {
  const stateHome = join(process.env['XDG_STATE_HOME'] ?? '', 'cage')
  const id = readdirSync(stateHome).find((name) => name.startsWith('shop-')) ?? 'no project was brought up'
  const cluster = await connect({kubeconfig: join(stateHome, id, 'kubeconfig')})
  const namespace = clusterNames.taskNamespace(id)
  await cluster.apply([{apiVersion: 'v1', kind: 'Namespace', metadata: {name: NAMESPACE}}])
  try {
    // The first task also warms what a first pod of these images warms.
    await cage('task', 'new', 'bench/first', '--agent', 'shell')
    const model = (await cluster.list<Pod>({apiVersion: 'v1', kind: 'Pod', namespace}))[0]
    if (!model) throw new Error(`no task pod in ${namespace}`)
    await cage('task', 'rm', 'bench/first', '--force')
    let round = 0
    const times = await alternate(ROUNDS, {
      task: () => cage('task', 'new', `bench/${++round}`, '--agent', 'shell'),
      plain: async () => {
        const pod = plainPod(model, `plain-${round}`)
        await cluster.create(pod)
        await cluster.waitFor<Pod>(
          {apiVersion: 'v1', kind: 'Pod', name: `plain-${round}`, namespace: NAMESPACE},
          (now) =>
            now?.status?.conditions?.some(({type, status}) => type === 'Ready' && status === 'True') ?? false,
          {what: 'the plain pod is ready', deadlineMs: 120_000},
        )
      },
    })
    const containers = model.spec.containers.length + model.spec.initContainers.length
    report({
      bench: 'task',
      ratios: {
        taskToPlain: median(times.task) / median(times.plain),
        taskToPlainAtBest: minimum(times.task) / minimum(times.plain),
      },
      targets: {taskToPlain: MOST_RATIO},
      values: {
        containers,
        rounds: ROUNDS,
        taskMs: median(times.task),
        plainMs: median(times.plain),
        taskMinMs: minimum(times.task),
        plainMinMs: minimum(times.plain),
      },
    })
  } finally {
    await cluster.delete({apiVersion: 'v1', kind: 'Namespace', name: NAMESPACE})
    await cluster.close()
  }
}

/** The same images in the same order and roles, with nothing to do. */
function plainPod(model: Pod, name: string): KubeObject {
  const idle = (container: PodContainer, argv: string[]) => ({
    name: container.name,
    image: container.image,
    imagePullPolicy: container.imagePullPolicy,
    command: argv,
    ...(container.restartPolicy === undefined ? {} : {restartPolicy: container.restartPolicy}),
  })
  const stays = (container: PodContainer) => container.restartPolicy === 'Always'
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {name, namespace: NAMESPACE},
    spec: {
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 1,
      initContainers: model.spec.initContainers.map((one) =>
        idle(one, stays(one) ? ['sleep', 'infinity'] : ['true']),
      ),
      containers: model.spec.containers.map((one) => idle(one, ['sleep', 'infinity'])),
    },
  }
}

function cage(...args: string[]): Promise<void> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [resolve('bin/cage'), ...args], {
      cwd: process.env['CAGE_TEST_REPOSITORY'],
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    child.on('error', failed)
    child.on('close', (code) => {
      if (code === 0) done()
      else failed(new Error(`cage ${args.join(' ')} exited with ${String(code)}\n${said}`))
    })
  })
}
