/** What the two kinds of cluster that cage installs do differently, for those who look at one from outside. */
export interface ClusterKind {
  /** where the API server listens: on the machine's own link, or on its loopback only */
  api: {port: number; listens: 'machine' | 'loopback'}
  /** TCP ports of the machine that answer the machine and never a pod, by name */
  closed: Readonly<Record<string, number>>
  /** its network engine promises to enforce NetworkPolicy; whether it does is found out by trying */
  networkPolicy: boolean
  /** milliseconds that an installation may take */
  deadlineMs: number
  /** where to look when it does not become ready */
  hint: string
}

export const clusterKinds = {
  kubeadm: {
    api: {port: 6443, listens: 'machine'},
    closed: {'API server': 6443, kubelet: 10250},
    networkPolicy: false,
    // On an emulated processor: five minutes for the images, as many for kubeadm.
    deadlineMs: 30 * 60_000,
    hint: 'Look at /var/log/kubelet/current with `cage machine ssh`.',
  },
  microk8s: {
    api: {port: 16443, listens: 'loopback'},
    closed: {kubelet: 10250},
    networkPolicy: true,
    // It is downloaded, and so are the images of its network engine.
    deadlineMs: 40 * 60_000,
    hint: 'Run `cage machine ssh -- /snap/bin/microk8s inspect`.',
  },
} as const satisfies Readonly<Record<string, ClusterKind>>
