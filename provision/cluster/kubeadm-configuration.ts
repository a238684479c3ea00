import {stringify} from 'yaml'
import type {ProjectNetwork} from '../state/machine-record.js'

export interface KubeadmSettings {
  node: string
  network: ProjectNetwork
  /** e.g. `v1.36.3` */
  kubernetes: string
  /** tag of the etcd image */
  etcd: string
  imagePrefix: string
  cgroup: 'v1' | 'v2'
  supervisor: 'runit' | 'systemd'
  /** what the machine shows as its own, in bytes and processors */
  seen: {memory: number; cpus: number}
  /** what the project may use of it */
  allowed: {memory: number; cpus: number}
}

const MIB = 1024 ** 2

/** kubeadm's configuration file: four YAML documents. */
export function kubeadmConfiguration(settings: KubeadmSettings): string {
  const documents = [initialization(settings), cluster(settings), kubelet(settings), proxy]
  return documents
    .map((document) => stringify(document, {aliasDuplicateObjects: false, compat: 'yaml-1.1', lineWidth: 0}))
    .join('---\n')
}

function address(settings: KubeadmSettings): string {
  return settings.network.machine.split('/')[0] ?? ''
}

function initialization(settings: KubeadmSettings) {
  return {
    apiVersion: 'kubeadm.k8s.io/v1beta4',
    kind: 'InitConfiguration',
    localAPIEndpoint: {advertiseAddress: address(settings), bindPort: 6443},
    nodeRegistration: {
      name: settings.node,
      criSocket: 'unix:///run/containerd/containerd.sock',
      imagePullPolicy: 'Never',
      taints: [],
      kubeletExtraArgs: [{name: 'node-ip', value: address(settings)}],
    },
    // On an emulated processor the first answer takes minutes; who waits for it has a deadline of its own.
    timeouts: {
      controlPlaneComponentHealthCheck: '10m0s',
      etcdAPICall: '10m0s',
      kubeletHealthCheck: '10m0s',
      kubernetesAPICall: '10m0s',
    },
  }
}

function cluster(settings: KubeadmSettings) {
  // One of each: an election only writes, and loses its seat when the disk is slow.
  const alone = {extraArgs: [{name: 'leader-elect', value: 'false'}]}
  return {
    apiVersion: 'kubeadm.k8s.io/v1beta4',
    kind: 'ClusterConfiguration',
    clusterName: settings.node,
    kubernetesVersion: settings.kubernetes,
    imageRepository: settings.imagePrefix,
    // Nobody renews certificates on a laptop; they end with the machine.
    certificateValidityPeriod: '87600h0m0s',
    caCertificateValidityPeriod: '87600h0m0s',
    // Handshakes with RSA keep a slow processor busy.
    encryptionAlgorithm: 'ECDSA-P256',
    networking: {
      dnsDomain: 'cluster.local',
      podSubnet: settings.network.pods,
      serviceSubnet: settings.network.services,
    },
    apiServer: {
      extraArgs: [
        {name: 'profiling', value: 'false'},
        // While etcd is gone, what waits for it also holds up the kubelet that would start it again.
        {name: 'request-timeout', value: '10s'},
      ],
    },
    controllerManager: {extraArgs: [...alone.extraArgs, {name: 'profiling', value: 'false'}]},
    scheduler: {extraArgs: [...alone.extraArgs, {name: 'profiling', value: 'false'}]},
    etcd: {
      local: {
        imageTag: settings.etcd,
        // Its disk has one gibibyte: data, snapshots and log must fit.
        extraArgs: [
          {name: 'quota-backend-bytes', value: String(300 * MIB)},
          {name: 'max-snapshots', value: '2'},
          {name: 'max-wals', value: '2'},
        ],
      },
    },
  }
}

function kubelet(settings: KubeadmSettings) {
  const {seen, allowed} = settings
  // What the project may not use counts as taken, so that pods are limited before the machine's own programs are.
  const memory = Math.max(seen.memory - allowed.memory, 0) + 1024 * MIB
  const milliCpus = Math.max(seen.cpus - allowed.cpus, 0) * 1000 + 250
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    cgroupDriver: settings.supervisor === 'systemd' ? 'systemd' : 'cgroupfs',
    ...(settings.cgroup === 'v1' ? {failCgroupV1: false} : {}),
    failSwapOn: false,
    maxPods: 200,
    podPidsLimit: 2048,
    containerLogMaxSize: '10Mi',
    containerLogMaxFiles: 3,
    // A flood is cut every few seconds, by two at a time.
    containerLogMonitorInterval: '3s',
    containerLogMaxWorkers: 2,
    registerWithTaints: [],
    // A part of the cluster that is killed for the third time comes back as fast as the first time.
    crashLoopBackOff: {maxContainerRestartPeriod: '3s'},
    serializeImagePulls: false,
    systemReserved: {cpu: `${milliCpus}m`, memory: `${Math.ceil(memory / MIB)}Mi`},
    evictionHard: {
      'memory.available': '100Mi',
      'nodefs.available': '5%',
      'nodefs.inodesFree': '3%',
      'imagefs.available': '5%',
      'pid.available': '5%',
    },
    // Images are pinned: there is no registry from which one could come back.
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    seccompDefault: true,
    enableProfilingHandler: false,
  }
}

const proxy = {
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
  mode: 'nftables',
  // The kernel's own limits stay: they belong to the computer.
  conntrack: {maxPerCore: 0, min: 0},
}
