import type {MachineRecord} from '../state/machine-record.js'
import {microk8sChannel} from './microk8s-configuration.js'

export interface ClusterChoice {
  kind: 'kubeadm' | 'microk8s'
  /** why not microk8s in a virtual machine, for the person; else empty */
  why: string
}

/** What the store says of the snap: a parsed JSON document. Rejects when it does not answer. */
export type AskStore = (url: string, headers: Readonly<Record<string, string>>) => Promise<unknown>

const store = 'https://api.snapcraft.io/v2/snaps/info/microk8s?fields=channel-map'
const STORE_MS = 8000

/**
 * What `kind: auto` means on a machine: in a virtual machine microk8s where the store has the channel that cage installs,
 * else kubeadm. A guest gets no proxy from here, so the store is asked without one as well.
 */
export async function chooseCluster(
  driver: MachineRecord['driver'],
  arch: string,
  ask: AskStore = askStore,
): Promise<ClusterChoice> {
  if (driver !== 'lima' && driver !== 'vagrant') return {kind: 'kubeadm', why: ''}
  const said = await ask(store, {'Snap-Device-Series': '16'}).catch(() => undefined)
  if (said === undefined) return {kind: 'kubeadm', why: 'cluster kubeadm: the snap store does not answer'}
  if (offers(said, microk8sChannel, arch === 'arm64' ? 'arm64' : 'amd64')) return {kind: 'microk8s', why: ''}
  return {kind: 'kubeadm', why: `cluster kubeadm: the snap store has no microk8s ${microk8sChannel}`}
}

interface Released {
  channel?: {architecture?: unknown; track?: unknown; risk?: unknown}
}

function offers(said: unknown, channel: string, architecture: string): boolean {
  const map = (said as {'channel-map'?: unknown} | null)?.['channel-map']
  return (
    Array.isArray(map) &&
    (map as Released[]).some(
      ({channel: one}) =>
        one?.architecture === architecture && `${String(one.track)}/${String(one.risk)}` === channel,
    )
  )
}

async function askStore(url: string, headers: Readonly<Record<string, string>>): Promise<unknown> {
  const answer = await fetch(url, {
    headers: {...headers},
    redirect: 'error',
    signal: AbortSignal.timeout(STORE_MS),
  })
  if (!answer.ok) throw new Error(`the snap store answered ${answer.status}`)
  return answer.json()
}
