import {
  agentPath,
  clusterNames,
  container,
  program,
  sidecarPath,
  sidecarPort,
  trustPath,
  uid,
} from '../core/layout.js'
import type {MountShape, PodShape} from './pod-shape.js'

export const taskPriority = 'cage-task'
export const taskServiceAccount = 'task'
/** node of the image of sidecar and dispatcher */
export const nodeProgram = '/usr/local/bin/node'

const home: MountShape = {volume: 'home', path: agentPath.home}
const task: MountShape = {volume: 'task', path: agentPath.task, readOnly: true}
const temporary: MountShape = {volume: 'tmp', path: '/tmp'}
const trust: MountShape = {volume: 'trust', path: trustPath.dir, readOnly: true}

/** fence → sidecar → probe → clone → agent: each starts when the one before is done, or up (decision 0007). */
export const taskShape: PodShape = {
  component: 'task',
  name: clusterNames.pod('{task}'),
  init: [
    {
      name: container.fence,
      image: 'proxy',
      uid: 0,
      add: ['NET_ADMIN'],
      command: ['/usr/lib/cage/fence.sh'],
      mounts: [],
    },
    {
      name: container.sidecar,
      image: 'proxy',
      uid: uid.sidecar,
      add: [],
      command: [nodeProgram, program.proxy, 'serve'],
      mounts: [
        {volume: 'grant', path: sidecarPath.grant, readOnly: true},
        {volume: 'state', path: sidecarPath.state},
        {volume: 'ledger', path: sidecarPath.ledger},
        {...trust, readOnly: false},
      ],
      stays: true,
      health: {port: sidecarPort.health, startup: '/startupz', live: '/livez'},
    },
    {
      name: container.probe,
      image: 'proxy',
      uid: uid.agent,
      add: [],
      command: [nodeProgram, program.proxy, 'probe'],
      mounts: [trust],
    },
    {
      name: container.clone,
      image: 'agent',
      uid: uid.agent,
      add: [],
      command: [`${agentPath.bin}/clone`],
      mounts: [home, task, temporary, trust],
    },
  ],
  main: [
    {
      name: container.agent,
      image: 'agent',
      uid: uid.agent,
      add: [],
      command: ['/usr/bin/tini', '--', `${agentPath.bin}/init`],
      mounts: [home, task, temporary, trust],
    },
  ],
  volumes: [
    {name: 'home', claim: clusterNames.home('{task}')},
    {name: 'ledger', claim: clusterNames.ledger('{task}')},
    {name: 'grant', secret: clusterNames.grant('{task}')},
    {name: 'task', configMap: clusterNames.config('{task}')},
    {name: 'state', memory: true},
    {name: 'trust', memory: true},
    {name: 'tmp', memory: true},
  ],
  // The task's volume belongs to the agent's group. So does the ledger, which the agent does not mount.
  fsGroup: uid.agent,
  priorityClass: taskPriority,
  serviceAccount: taskServiceAccount,
  nameservers: ['127.0.0.1'],
  sysctls: [
    // No group may open ping sockets, nobody without a capability a port below 1024.
    {name: 'net.ipv4.ping_group_range', value: '1 0'},
    {name: 'net.ipv4.ip_unprivileged_port_start', value: '1024'},
  ],
}
