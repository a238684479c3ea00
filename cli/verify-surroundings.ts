import {isIPv4} from 'node:net'
import {messageOf} from '../core/errors.js'
import {clusterNames} from '../core/layout.js'
import type {VerifySurroundings} from '../tasks/verify/verify.js'
import {closedAddresses} from './cluster-facts.js'
import {policyTrial} from './policy-trial.js'
import type {ProjectContext} from './project-context.js'

const DISPATCHER_PORT = 443
const names: Readonly<Record<string, string>> = {
  '10250': 'kubelet',
  '443': 'API service',
  '6443': 'API server',
}

/** Canaries on the machine and, where it is this computer, beside it; and what must be closed to a task. */
export async function openSurroundings(
  project: ProjectContext,
): Promise<VerifySurroundings & {close: () => Promise<void>}> {
  const {machine, record} = await project.machine()
  const {transport} = machine
  const [{computerCanary, highPort, machineCanary}, {dispatcherAddress}] = await Promise.all([
    import('../provision/machine/canary.js'),
    import('../provision/steps/dispatcher.js'),
  ])
  const [{address}, cluster, closed] = await Promise.all([
    machine.facts(),
    project.cluster(),
    closedAddresses(project),
  ])
  const dispatcher = await dispatcherAddress(cluster, project.id)
  const high = highPort()
  const link = record.driver === 'local' ? record.network?.host.split('/')[0] : undefined
  const canaries = await Promise.all([
    machineCanary(transport, address, [53, 80, 443, high]),
    ...(link !== undefined && isIPv4(link) ? [computerCanary(transport, link, [high])] : []),
  ])
  return {
    canaries,
    closed: [
      ...closed.map((one) => {
        const [host = '', port = ''] = one.split(':')
        return {name: names[port] ?? 'machine', address: host, port: Number(port)}
      }),
      {name: clusterNames.dispatcher, address: dispatcher, port: DISPATCHER_PORT},
    ],
    lookOut: async (targets) => {
      const {output} = await import('../provision/transport/output.js')
      const argv = ['/usr/local/lib/cage/lookout.sh', ...targets] as const
      return (await output(transport, {argv, timeoutMs: 60_000})).split('\n')
    },
    tryPolicy: async () => {
      const [{tryNetworkPolicy}, {clusterKinds}] = await Promise.all([
        import('../provision/steps/network-policy.js'),
        import('../provision/cluster/kinds.js'),
      ])
      const {id, clock, owner, probe} = policyTrial(project)
      const options = {id, clock, owner: await owner(), view: await probe()}
      const tools = {signal: project.signal, detail: () => undefined}
      const promised = clusterKinds[record.cluster].networkPolicy
      try {
        return {found: await tryNetworkPolicy(cluster, options, tools), promised}
      } catch (error) {
        project.signal.throwIfAborted()
        // The other findings are worth a report; this one says what is missing.
        return {found: 'unproven', promised, obstacle: messageOf(error)}
      }
    },
    reaches: async (host, port) => {
      const script = 'exec 3<>"/dev/tcp/$1/$2"'
      const argv = ['timeout', '5', 'bash', '-c', script, 'bash', host, String(port)] as const
      return (await transport.run({argv, timeoutMs: 10_000})).code === 0
    },
    close: async () => {
      await Promise.all(canaries.map((canary) => canary.close()))
    },
  }
}
