import {
  container,
  dispatcherContainer,
  dispatcherPath,
  dispatcherPort,
  program,
  smallHeap,
  uid,
} from '../core/layout.js'
import type {PodShape} from './pod-shape.js'
import {nodeProgram} from './task-shape.js'

export const dispatcherPriority = 'cage-dispatcher'
export const dispatcherServiceAccount = 'dispatcher'
/** claim of the repositories */
export const dispatcherClaim = 'dispatcher'

/** fence: closes the network, then gone. gate: TLS and documents, no pack is parsed here. git: the volume and the git children, no secret. */
export const dispatcherShape: PodShape = {
  component: 'dispatcher',
  init: [
    {
      name: container.fence,
      image: 'dispatcher',
      uid: 0,
      add: ['NET_ADMIN'],
      command: ['/usr/lib/cage/fence.sh'],
      mounts: [],
    },
  ],
  main: [
    {
      name: dispatcherContainer.gate,
      image: 'dispatcher',
      uid: uid.gate,
      add: [],
      command: [nodeProgram, program.dispatcher, 'gate'],
      mounts: [
        {volume: 'run', path: dispatcherPath.run},
        {volume: 'tls', path: dispatcherPath.tls, readOnly: true},
        {volume: 'repositories', path: dispatcherPath.gateState, part: 'gate'},
      ],
      health: {port: dispatcherPort.health, startup: '/startupz', live: '/livez', ready: '/readyz'},
    },
    {
      name: dispatcherContainer.git,
      image: 'dispatcher',
      uid: uid.git,
      add: [],
      command: [nodeProgram, ...smallHeap, program.dispatcher, 'git'],
      mounts: [
        {volume: 'run', path: dispatcherPath.run},
        {volume: 'repositories', path: dispatcherPath.volume, part: 'git'},
        {volume: 'tmp', path: '/tmp'},
      ],
    },
  ],
  volumes: [
    {name: 'repositories', claim: dispatcherClaim},
    {name: 'run', memory: true},
    {name: 'tls', secret: 'dispatcher-tls'},
    {name: 'tmp', memory: true},
  ],
  fsGroup: uid.git,
  priorityClass: dispatcherPriority,
  serviceAccount: dispatcherServiceAccount,
  // Nothing of the system resolves: gate asks the resolver that it is told.
  nameservers: ['127.0.0.1'],
  sysctls: [],
}
