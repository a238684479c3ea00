import {readFile} from 'node:fs/promises'
import {parse} from 'yaml'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import type {Cluster} from '../../kube/cluster.js'
import {connect} from '../../kube/connect.js'
import type {ExistingCluster, ExistingRecord, MachineRecord} from '../state/machine-record.js'
import {clusterUid} from './ownership.js'

/** What the operator's file says about the cluster. */
export interface ExistingWanted {
  kubeconfig?: string
  context?: string
  registry?: string
  storageClass?: string
}

/** The named cluster, connected; the caller closes it. Errors: EXISTING_INCOMPLETE, KUBECONFIG_INVALID, both exit 3. */
export async function openExisting(
  wanted: ExistingWanted,
  signal: AbortSignal,
): Promise<{cluster: Cluster; existing: ExistingCluster}> {
  const {kubeconfig, registry, storageClass} = wanted
  if (kubeconfig === undefined || registry === undefined) {
    const missing = (['kubeconfig', 'registry'] as const).filter((field) => wanted[field] === undefined)
    throw new CageError(
      `cluster \`existing\` needs ${missing.map((field) => `cluster.${field}`).join(' and ')}`,
      {
        code: 'EXISTING_INCOMPLETE',
        exitCode: ExitCode.precondition,
        hints: [
          'Add them to your own config.yaml: `cluster: {kind: existing, kubeconfig: ~/.kube/team, context: team, registry: registry.example.com/cage}`.',
        ],
      },
    )
  }
  const context = wanted.context ?? (await currentContext(kubeconfig))
  const cluster = await connect({kubeconfig, context})
  try {
    const uid = await clusterUid(cluster, {signal})
    const named = storageClass === undefined ? {} : {storageClass}
    return {cluster, existing: {kubeconfig, context, uid, registry, ...named}}
  } catch (cause) {
    await cluster.close()
    throw cause
  }
}

/** The project stays in the cluster it was made in. Errors: PROJECT_ELSEWHERE, exit 3. */
export function requireSameCluster(
  record: MachineRecord | ExistingRecord | undefined,
  existing: ExistingCluster,
): void {
  if (!record || record.existing?.uid === existing.uid) return
  const where = record.existing
    ? `context ${record.existing.context} of ${record.existing.kubeconfig}`
    : `machine \`${record.driver}\``
  throw new CageError(`this project is in another cluster already: ${where}`, {
    code: 'PROJECT_ELSEWHERE',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage destroy` with the old settings first, then `cage up` with the new ones.'],
  })
}

/** Pinned at the first `up`: the file's current context changes with what the person does elsewhere. */
async function currentContext(kubeconfig: string): Promise<string> {
  try {
    const config = parse(await readFile(kubeconfig, 'utf8')) as {'current-context'?: unknown} | null
    const context = config?.['current-context']
    if (typeof context === 'string' && context !== '') return context
  } catch (cause) {
    throw unusable(`${kubeconfig} is not readable as a kubeconfig: ${messageOf(cause)}`, cause)
  }
  throw unusable(`${kubeconfig} has no current context`)
}

function unusable(message: string, cause?: unknown): CageError {
  return new CageError(message, {
    code: 'KUBECONFIG_INVALID',
    exitCode: ExitCode.precondition,
    hints: ['Name a kubeconfig and one of its contexts: `cluster: {kubeconfig: …, context: …}`.'],
    cause,
  })
}
