import type {Writable} from 'node:stream'

/**
 * Where the volumes of tasks lie on this machine. Clusters with a provisioner of their own need nothing done.
 * `name` is that of the PersistentVolumeClaim in the project's task namespace.
 * - `ensure` MUST be idempotent, MUST make a volume of that size for the claim, and MUST leave the content of an
 *   existing one alone.
 * - `remove` MUST be idempotent and MUST leave nothing on the machine's disk; claim and pod are gone when it is called.
 * - `read` MUST write a file at the volume's top into `out` as it is now, whether or not a pod uses it, MUST write nothing
 *   when there is no such file, and MUST NOT end `out`. Absent where only a pod can look into a volume.
 */
export interface Volumes {
  ensure(name: string, bytes: number): Promise<void>
  remove(name: string): Promise<void>
  read?(name: string, file: string, out: Writable, signal?: AbortSignal): Promise<void>
}

/** For clusters that provision volumes by themselves. */
export const provisionedByCluster: Volumes = {
  ensure: () => Promise.resolve(),
  remove: () => Promise.resolve(),
}
