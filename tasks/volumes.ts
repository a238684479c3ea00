/**
 * Where the volumes of tasks lie on this machine. Clusters with a provisioner of their own need nothing done.
 * `name` is that of the PersistentVolumeClaim in the project's task namespace.
 * - `ensure` MUST be idempotent, MUST make a volume of that size for the claim, and MUST leave the content of an
 *   existing one alone.
 * - `remove` MUST be idempotent and MUST leave nothing on the machine's disk; claim and pod are gone when it is called.
 */
export interface Volumes {
  ensure(name: string, bytes: number): Promise<void>
  remove(name: string): Promise<void>
}

/** For clusters that provision volumes by themselves. */
export const provisionedByCluster: Volumes = {
  ensure: () => Promise.resolve(),
  remove: () => Promise.resolve(),
}
