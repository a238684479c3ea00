import {clusterNames, dispatcherPort, label} from '../core/layout.js'
import type {BaseView, Opening} from './base-view.js'

/** IPv4 that is not the internet, whatever a rule says. */
const notPublic = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
]

/** Egress of task pods: the dispatcher, and the ways out; nothing by IPv6. */
export function taskEgress(view: BaseView): object[] {
  const dispatcher = {
    to: [
      {
        namespaceSelector: {
          matchLabels: {'kubernetes.io/metadata.name': clusterNames.dispatcherNamespace(view.projectId)},
        },
        podSelector: {matchLabels: {[label.component]: 'dispatcher'}},
      },
    ],
    ports: [{protocol: 'TCP', port: dispatcherPort.gate}],
  }
  return [dispatcher, ...elsewhere(view.resolverPods, view.openings, view.publicPorts)]
}

/** Egress of the dispatcher: its upstreams, the resolver where they are found by name, nothing for a hosted one. */
export function dispatcherEgress({upstreams, resolverPods}: BaseView): object[] {
  const {openings, publicPorts} = upstreams
  return elsewhere(publicPorts.length > 0 ? resolverPods : undefined, openings, publicPorts)
}

function elsewhere(
  resolverPods: BaseView['resolverPods'],
  openings: readonly Opening[],
  publicPorts: readonly number[],
): object[] {
  const resolver = (resolverPods ? [resolverPods] : []).map(({namespace, labels, ports}) => ({
    to: [
      {
        namespaceSelector: {matchLabels: {'kubernetes.io/metadata.name': namespace}},
        podSelector: {matchLabels: {...labels}},
      },
    ],
    ports: ports.map((port) => ({...port})),
  }))
  const exact = openings.map(({address, protocol, port}) => ({
    to: [{ipBlock: {cidr: address.includes('/') ? address : `${address}/32`}}],
    ports: [{protocol, port}],
  }))
  const open = {
    to: [{ipBlock: {cidr: '0.0.0.0/0', except: notPublic}}],
    ports: [...new Set(publicPorts)].sort((a, b) => a - b).map((port) => ({protocol: 'TCP', port})),
  }
  return [...resolver, ...exact, ...(open.ports.length > 0 ? [open] : [])]
}

/** Ingress of the dispatcher: the project's task pods, its TLS port. */
export function dispatcherIngress(view: BaseView): object[] {
  return [
    {
      from: [
        {
          namespaceSelector: {
            matchLabels: {'kubernetes.io/metadata.name': clusterNames.taskNamespace(view.projectId)},
          },
          podSelector: {matchLabels: {[label.component]: 'task'}},
        },
      ],
      ports: [{protocol: 'TCP', port: dispatcherPort.gate}],
    },
  ]
}
