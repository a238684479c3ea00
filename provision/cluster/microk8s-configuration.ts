import {stringify} from 'yaml'

/** What is installed from the store; a newer one comes only to new machines. */
export const microk8sChannel = '1.36/stable'

/** The launch configuration that the snap reads when it is installed, /etc/microk8s.yaml. */
export function microk8sConfiguration(): string {
  const configuration = {
    version: '0.2.0',
    // Task pods ask their sidecar for names, the dispatcher has a fixed address, volumes are cage's own.
    addons: [],
    extraKubeAPIServerArgs: {
      // Reached only through SSH.
      '--bind-address': '127.0.0.1',
      // Without it every account of the cluster may do everything.
      '--authorization-mode': 'RBAC,Node',
    },
    // Nothing else ever joins.
    extraMicroK8sClusterAgentArgs: {'--bind': '127.0.0.1:25000'},
    extraKubeletArgs: {
      '--cluster-domain': 'cluster.local',
      '--max-pods': '200',
      '--pod-max-pids': '2048',
      '--seccomp-default': 'true',
      '--container-log-max-size': '10Mi',
      '--container-log-max-files': '3',
      '--system-reserved': 'cpu=250m,memory=1024Mi',
      // A shell reads these files: without quotes it would take `<` for its own.
      '--eviction-hard':
        '"memory.available<100Mi,nodefs.available<5%,nodefs.inodesFree<3%,imagefs.available<5%,pid.available<5%"',
      // The images of cage are pinned; those of the network engine come back from where they came.
      '--image-gc-high-threshold': '85',
      '--image-gc-low-threshold': '80',
    },
  }
  return stringify(configuration, {compat: 'yaml-1.1', lineWidth: 0})
}
