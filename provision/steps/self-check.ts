import {Writable} from 'node:stream'
import {CageError} from '../../core/errors.js'
import {clusterNames, dispatcherContainer, label} from '../../core/layout.js'
import type {Cluster} from '../../kube/cluster.js'
import type {Step} from '../pipeline.js'

/** Runs in a pod: tries each ADDRESS:PORT for two seconds, prints the ones that answer. */
const KNOCK = `
const net = require('node:net')
Promise.all(process.argv.slice(1).map((target) => new Promise((done) => {
  const cut = target.lastIndexOf(':')
  const socket = net.connect(Number(target.slice(cut + 1)), target.slice(0, cut))
  const end = (answer) => { socket.destroy(); done(answer) }
  socket.setTimeout(2000, () => end(''))
  socket.on('connect', () => end(target))
  socket.on('error', () => end(''))
}))).then((answers) => console.log(answers.filter(Boolean).join(' ')))
`

/**
 * Proves on the running installation that the machine's firewall and the admission policy act. The addresses are known to
 * answer: the API server, which this computer talks to in the same moment, and the kubelet beside it.
 * Errors: FIREWALL_OPEN, ADMISSION_OPEN: nothing may start before they are mended.
 */
export function selfCheckStep(options: {
  id: string
  cluster: () => Promise<Cluster>
  /** `ADDRESS:PORT` that answer on the machine and must not answer a pod */
  closed: () => Promise<readonly string[]>
}): Step {
  return {
    name: 'self-check',
    deadlineMs: 60_000,
    hints: ['Run `cage down`, then `cage up`.', 'If it stays, please report it: no task should run before.'],
    check: async ({signal}) => {
      const cluster = await options.cluster()
      await Promise.all([
        firewallHolds(cluster, options.id, await options.closed(), signal),
        admissionHolds(cluster, options.id, signal),
      ])
      return true
    },
    act: () => Promise.resolve(undefined),
  }
}

async function firewallHolds(
  cluster: Cluster,
  id: string,
  closed: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const namespace = clusterNames.dispatcherNamespace(id)
  const labelSelector = `${label.component}=dispatcher`
  const [pod] = await cluster.list({apiVersion: 'v1', kind: 'Pod', namespace, labelSelector, signal})
  if (!pod) throw new CageError('the dispatcher has no pod to look out of', {code: 'SELF_CHECK_FAILED'})
  let said = ''
  const stdout = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      said += chunk.toString()
      done()
    },
  })
  const code = await cluster.exec({
    namespace,
    pod: pod.metadata.name,
    container: dispatcherContainer.git,
    argv: ['node', '-e', KNOCK, ...closed],
    stdout,
    signal,
  })
  if (code !== 0)
    throw new CageError(`the firewall could not be tried (exit code ${code})`, {code: 'SELF_CHECK_FAILED'})
  const open = said.trim()
  if (open === '') return
  throw new CageError(`pods reach what the machine's firewall should close: ${open}`, {code: 'FIREWALL_OPEN'})
}

async function admissionHolds(cluster: Cluster, id: string, signal: AbortSignal): Promise<void> {
  const namespace = clusterNames.taskNamespace(id)
  const container = {name: 'agent', image: 'cage.local/agent:none', securityContext: {privileged: true}}
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {name: 'cage-self-check', namespace},
    spec: {containers: [container], hostNetwork: true},
  }
  try {
    await cluster.create(pod, {dryRun: true, signal})
  } catch (error) {
    // Refused, as it should be; anything else than a refusal is not a proof.
    if (error instanceof CageError && error.code === 'ADMISSION_DENIED') return
    throw error
  }
  throw new CageError('the cluster would start a privileged pod in the namespace of the tasks', {
    code: 'ADMISSION_OPEN',
  })
}
