/** Configuration files of a node that cage supervises itself (driver `local`). */

/** CNI: one link per pod, no bridge, so that everything between pods passes the machine's firewall. */
export function cniConfiguration(pods: string): string {
  const network = {
    cniVersion: '1.0.0',
    name: 'cage',
    plugins: [
      {
        type: 'ptp',
        // The firewall's table translates addresses; the plugin would need iptables.
        ipMasq: false,
        mtu: 1500,
        ipam: {type: 'host-local', ranges: [[{subnet: pods}]], routes: [{dst: '0.0.0.0/0'}]},
      },
    ],
  }
  return `${JSON.stringify(network, undefined, 2)}\n`
}

/** containerd 2; `pause` is the image that keeps a pod's namespaces open. */
export function containerdConfiguration(pause: string): string {
  return `version = 3
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '${pause}'
[plugins.'io.containerd.cri.v1.runtime']
  # A container is never spared more than containerd itself.
  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  max_container_log_line_size = 16384
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/usr/lib/cni']
    conf_dir = '/etc/cni/net.d'
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = 'runc'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = '/usr/local/bin/runc'
`
}
