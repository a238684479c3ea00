import type {MachineWork} from '../machine/machine.js'

/** `absent`: not installed, or its installation was cut off. `starting`: installed, not ready. */
export type ClusterState = 'absent' | 'starting' | 'ready'

/**
 * The Kubernetes on a machine.
 * - Every method MUST be safe to repeat, and to repeat after it was cut off at any point.
 * - `install` MUST make what is absent, and go on where an earlier one was cut off; of a cluster that was once complete it
 *   MUST keep everything, and only bring up what does not run.
 * - `kubeconfig` MUST work from this computer, and its user's name MUST be unique to the project.
 */
export interface ClusterInstaller {
  readonly kind: 'kubeadm' | 'microk8s'
  state(signal?: AbortSignal): Promise<ClusterState>
  install(work: MachineWork): Promise<void>
  /** YAML text */
  kubeconfig(): Promise<string>
}
