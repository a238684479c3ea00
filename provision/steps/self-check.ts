import type {Clock} from '../../core/clock.js'
import {CageError} from '../../core/errors.js'
import {clusterNames} from '../../core/layout.js'
import type {Cluster} from '../../kube/cluster.js'
import type {Step} from '../pipeline.js'
import type {Transport} from '../transport/transport.js'

const script = '/usr/local/lib/cage/lookout.sh'
/** The API server acts on a policy that was written just now after a moment. */
const SETTLES_MS = 15_000
const ROUND_MS = 250

/**
 * Proves on the running installation that the machine's firewall and the admission policy act. The addresses are known to
 * answer: the API server, which this computer talks to in the same moment, and the kubelet beside it.
 * Errors: FIREWALL_OPEN, ADMISSION_OPEN: nothing may start before they are mended.
 */
export function selfCheckStep(options: {
  id: string
  clock: Clock
  cluster: () => Promise<Cluster>
  /** with a machine of cage's own, whose firewall is tried */
  machine?: {
    transport: () => Promise<Transport>
    /** `ADDRESS:PORT` that answer on the machine and must not answer a pod */
    closed: () => Promise<readonly string[]>
  }
}): Step {
  const {machine} = options
  return {
    name: 'self-check',
    deadlineMs: 3 * 60_000,
    hints: ['Run `cage down`, then `cage up`.', 'If it stays, please report it: no task should run before.'],
    check: async ({signal}) => {
      const cluster = await options.cluster()
      await Promise.all([
        ...(machine ? [firewallHolds(await machine.transport(), await machine.closed(), signal)] : []),
        admissionHolds(cluster, options.id, options.clock, signal),
      ])
      return true
    },
    act: () => Promise.resolve(undefined),
  }
}

/** A pod cannot be asked: its own fence stands before the firewall. */
async function firewallHolds(
  transport: Transport,
  closed: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const {code, stdout, stderr} = await transport.run({
    argv: [script, ...closed],
    timeoutMs: 30_000,
    signal,
  })
  if (code !== 0)
    throw new CageError(`the firewall could not be tried: ${stderr.trim()}`, {code: 'SELF_CHECK_FAILED'})
  const open = stdout.toString().trim().replaceAll('\n', ' ')
  if (open === '') return
  throw new CageError(`pods reach what the machine's firewall should close: ${open}`, {code: 'FIREWALL_OPEN'})
}

async function admissionHolds(
  cluster: Cluster,
  id: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const end = clock.now() + SETTLES_MS
  while (!(await refusesPrivileged(cluster, clusterNames.taskNamespace(id), signal))) {
    if (clock.now() >= end)
      throw new CageError('the cluster would start a privileged pod in the namespace of the tasks', {
        code: 'ADMISSION_OPEN',
      })
    await clock.sleep(ROUND_MS, signal)
  }
}

async function refusesPrivileged(cluster: Cluster, namespace: string, signal: AbortSignal): Promise<boolean> {
  const container = {name: 'agent', image: 'cage.local/agent:none', securityContext: {privileged: true}}
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {name: 'cage-self-check', namespace},
    spec: {containers: [container], hostNetwork: true},
  }
  try {
    await cluster.create(pod, {dryRun: true, signal})
    return false
  } catch (error) {
    // Refused, as it should be; anything else than a refusal is not a proof.
    if (error instanceof CageError && error.code === 'ADMISSION_DENIED') return true
    throw error
  }
}
