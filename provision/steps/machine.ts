import {join} from 'node:path'
import {clusterKinds} from '../cluster/kinds.js'
import {demandAll, doctorChecks} from '../doctor.js'
import {applyFirewall, firewallIs, type FirewallSettings} from '../firewall.js'
import {bringScripts, scriptsAreThere} from '../guest-scripts.js'
import {thisComputer} from '../machine/choose-driver.js'
import {kubernetesIsBuilt} from '../machine/local-build.js'
import type {Step} from '../pipeline.js'
import type {MachineWanted, Places, ProjectMachine} from '../provisioning.js'
import {readIfThere, writePrivate} from '../state/files.js'
import {projectFiles} from '../state/layout.js'

type Open = () => Promise<ProjectMachine>

/** The driver of the machine, and why `auto` took no stronger one; empty when nobody has to be told. */
type Wanted = () => Promise<{wanted: Pick<MachineWanted, 'id' | 'driver' | 'cluster'>; why: string}>

/** From nothing to a cluster that answers, in order. `open` makes the project's record when there is none. */
export function machineSteps(places: Places, open: Open, wanted: Wanted): Step[] {
  return [
    preflightStep(places, wanted),
    machineStep(open),
    transportStep(places, open),
    upgradeStep(open),
    clusterStep(open),
  ]
}

/** Everything missing on this computer, named at once, before anything is made. */
function preflightStep(places: Places, wanted: Wanted): Step {
  const {stateHome, cacheHome, packageRoot} = places
  return {
    name: 'preflight',
    deadlineMs: 120_000,
    hints: ['Run `cage doctor`.'],
    check: async () => {
      const {wanted: machine, why} = await wanted()
      const checks = await doctorChecks({
        ...thisComputer(places),
        driver: machine.driver,
        cluster: machine.cluster,
        made: (await readIfThere(projectFiles(stateHome, machine.id).record)) !== undefined,
        nodeVersion: process.version,
        stateHome,
        cacheHome,
        compiled: await kubernetesIsBuilt(packageRoot, join(cacheHome, 'cage')),
      })
      demandAll(checks)
      return why === ''
    },
    act: async () => {
      const {wanted: machine, why} = await wanted()
      return `machine ${machine.driver}: ${why}`
    },
    verify: () => Promise.resolve(true),
  }
}

function machineStep(open: Open): Step {
  return {
    name: 'machine',
    // The first machine of a computer waits for Kubernetes to be compiled.
    deadlineMs: 60 * 60_000,
    hints: ['Run `cage doctor`.'],
    check: async () => (await (await open()).machine.state()) === 'running',
    act: async (work) => {
      const {machine} = await open()
      const before = await machine.state()
      if (before === 'absent') await machine.create(work)
      await machine.start(work)
      return before === 'absent' ? 'created' : before === 'broken' ? 'repaired' : 'started'
    },
  }
}

/** cage's scripts on the machine are those of this cage. */
function transportStep({packageRoot, runner}: Places, open: Open): Step {
  const scripts = async (signal: AbortSignal) => ({
    packageRoot,
    runner,
    signal,
    transport: (await open()).machine.transport,
  })
  return {
    name: 'transport',
    deadlineMs: 3 * 60_000,
    hints: ['Run `cage down`, then `cage up`.'],
    check: async ({signal}) => scriptsAreThere(await scripts(signal)),
    act: async ({signal, detail}) => {
      detail('copying scripts')
      await bringScripts(await scripts(signal))
      return undefined
    },
  }
}

/** A cluster of an older Kubernetes is brought to the one of this cage; the volumes of its tasks stay. */
function upgradeStep(open: Open): Step {
  return {
    name: 'upgrade',
    // The new Kubernetes is compiled while the old one still runs.
    deadlineMs: 60 * 60_000,
    hints: ['Look at /var/log/kubelet/current with `cage machine ssh`.'],
    check: async ({signal}) => !((await (await open()).cluster.upkeep?.outdated(signal)) ?? false),
    act: async (work) => (await open()).cluster.upkeep?.upgrade(work),
  }
}

function clusterStep(open: Open): Step {
  const again = 'Run `cage down`, then `cage up`.'
  return {
    name: 'cluster',
    deadlineMs: clusterKinds.kubeadm.deadlineMs,
    hints: [clusterKinds.kubeadm.hint, again],
    adapt: async () => {
      const {deadlineMs, hint} = clusterKinds[(await open()).cluster.kind]
      return {deadlineMs, hints: [hint, again]}
    },
    check: async ({signal}) => {
      const {cluster, files} = await open()
      return (await cluster.state(signal)) === 'ready' && (await readIfThere(files.kubeconfig)) !== undefined
    },
    act: async (work) => {
      const {cluster, files} = await open()
      const before = await cluster.state(work.signal)
      if (before !== 'ready') await cluster.install(work)
      const mended = before === 'starting' ? await cluster.upkeep?.mend(work) : undefined
      await writePrivate(files.kubeconfig, await cluster.kubeconfig())
      work.detail('waiting until it is ready')
      return before === 'absent' ? 'installed' : mended
    },
  }
}

/** What the machine's firewall opens; asked anew at each run, since the dispatcher's address comes later than the cluster. */
export type FirewallWanted = Pick<FirewallSettings, 'dispatcher' | 'publicPorts' | 'openings'>

/** The machine's firewall for pods: a machine that starts is closed until this step ran. */
export function firewallStep(open: Open, wanted: () => Promise<FirewallWanted>): Step {
  const settings = async (): Promise<FirewallSettings> => {
    const {resolver, around} = await (await open()).machine.facts()
    return {...(await wanted()), resolver, computer: around}
  }
  return {
    name: 'firewall',
    deadlineMs: 3 * 60_000,
    hints: ['Run `cage machine ssh -- nft list table inet cage` to see what is loaded.'],
    check: async ({signal}) => firewallIs((await open()).machine.transport, await settings(), signal),
    act: async ({signal}) => {
      const rules = await settings()
      await applyFirewall((await open()).machine.transport, rules, signal)
      return rules.openings.length > 0 ? `${rules.openings.length} openings` : undefined
    },
  }
}
