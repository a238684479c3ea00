import {readIfThere} from './files.js'
import type {ProjectFiles} from './layout.js'
import {readRecord} from './machine-record.js'

/** With which file the project's cluster is reached; absent context = the file's own. */
export interface KubeAccess {
  kubeconfig: string
  context?: string
}

/** The kubeconfig that `cage up` wrote, or the operator's own with cluster `existing`. Undefined when there is no cluster yet. */
export async function kubeAccess(files: ProjectFiles): Promise<KubeAccess | undefined> {
  const existing = (await readRecord(files.record))?.existing
  if (existing) return {kubeconfig: existing.kubeconfig, context: existing.context}
  return (await readIfThere(files.kubeconfig)) === undefined ? undefined : {kubeconfig: files.kubeconfig}
}
