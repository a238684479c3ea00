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
  /** absent where the cluster's own programs see to it */
  readonly upkeep?: ClusterUpkeep
}

/**
 * What an installed cluster needs in the years after.
 * - Every method MUST keep everything that is in the cluster, and MUST refuse what it cannot do before it changes anything.
 */
export interface ClusterUpkeep {
  /** its Kubernetes is another than this cage brings; quick */
  outdated(signal: AbortSignal): Promise<boolean>
  /** to the Kubernetes that this cage brings, and says from which to which. Errors: KUBERNETES_JUMP, KUBERNETES_DOWNGRADE */
  upgrade(work: MachineWork): Promise<string>
  /** takes away what keeps it from becoming ready, and says what that was. Errors: CLOCK_WRONG, CERTIFICATES_ENDED */
  mend(work: MachineWork): Promise<string | undefined>
}
