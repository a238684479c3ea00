import {parse, stringify} from 'yaml'

interface Kubeconfig {
  clusters: {name: string}[]
  users: {name: string}[]
  contexts: {name: string; context: {cluster: string; user: string}}[]
  'current-context': string
}

/** A cluster's own kubeconfig under the names of one project: clients cache credentials by user name. */
export function renamed(text: string, id: string): string {
  const config = parse(text) as Kubeconfig
  const user = `${id}-admin`
  for (const entry of config.clusters) entry.name = id
  for (const entry of config.users) entry.name = user
  for (const entry of config.contexts) {
    entry.name = id
    entry.context = {...entry.context, cluster: id, user}
  }
  return stringify({...config, 'current-context': id}, {lineWidth: 0})
}
