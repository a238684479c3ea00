import type {Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {output} from '../transport/output.js'
import type {Transport} from '../transport/transport.js'

/** The part of the cluster that volumes need; `kube`'s Cluster is one. */
export interface VolumeObjects {
  apply(objects: readonly KubeObject[]): Promise<void>
  get(ref: {apiVersion: string; kind: string; name: string}): Promise<KubeObject | undefined>
  delete(
    ref: {apiVersion: string; kind: string; name: string},
    options?: {wait?: {deadlineMs: number}},
  ): Promise<boolean>
}

export interface VolumesOptions {
  transport: Transport
  objects: VolumeObjects
  /** the node's name in Kubernetes */
  node: string
  /** namespace of the claims */
  namespace: string
  labels: Readonly<Record<string, string>>
}

/** Volumes by the name of their claim; `bytes` is the size that holds. */
export interface Volumes {
  ensure(name: string, bytes: number): Promise<void>
  remove(name: string): Promise<void>
  read(name: string, file: string, out: Writable, signal?: AbortSignal): Promise<void>
}

export const storageClass = 'cage'

const script = '/usr/local/lib/cage/volume.sh'

/**
 * Volumes on the machine's own disk: an ext4 file system of fixed size each, bound to the claim of the same name.
 * The claim itself is made by whoever makes the pod.
 */
export function machineVolumes(options: VolumesOptions): Volumes {
  const {transport, objects, namespace} = options
  const full = (name: string) => `${namespace}.${name}`
  const ref = (name: string) => ({apiVersion: 'v1', kind: 'PersistentVolume', name: full(name)})
  return {
    async ensure(name, bytes) {
      await output(transport, {argv: [script, 'ensure', full(name), String(bytes)], timeoutMs: 60_000})
      const existing = await objects.get(ref(name))
      // A claim that was deleted and made again never binds to the volume of its former self.
      const released = (existing?.['status'] as {phase?: string} | undefined)?.phase === 'Released'
      if (released) await objects.delete(ref(name), {wait: {deadlineMs: 30_000}})
      await objects.apply([persistentVolume(options, name, bytes)])
    },
    async remove(name) {
      await objects.delete(ref(name))
      await output(transport, {argv: [script, 'remove', full(name)], timeoutMs: 60_000})
    },
    async read(name, file, out, signal) {
      const argv = [script, 'read', full(name), file] as const
      const running = await transport.start({argv, ...(signal ? {signal} : {})})
      let said = ''
      running.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-1024)))
      running.stdin.end()
      await pipeline(running.stdout, out, {end: false})
      const code = await running.exit
      if (code === 0) return
      throw new CageError(`${file} of volume ${name} cannot be read: ${said.trim() || `exit code ${code}`}`, {
        code: 'VOLUME_UNREADABLE',
      })
    },
  }
}

/** The PersistentVolume for one claim, on one node. */
export function persistentVolume(options: VolumesOptions, name: string, bytes: number): KubeObject {
  const {namespace, node, labels} = options
  const hostname = {key: 'kubernetes.io/hostname', operator: 'In', values: [node]}
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {name: `${namespace}.${name}`, labels: {...labels}},
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: {storage: String(bytes)},
      claimRef: {apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name},
      local: {path: `/var/lib/cage/volumes/${namespace}.${name}`},
      nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [hostname]}]}},
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: storageClass,
      volumeMode: 'Filesystem',
    },
  }
}
