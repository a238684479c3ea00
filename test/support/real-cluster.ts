import {existsSync, readdirSync} from 'node:fs'
import {join} from 'node:path'
import {connect} from '../../kube/connect.js'
import type {Cluster} from '../../kube/cluster.js'

/** The kubeconfig of the tier's project, or the one that CAGE_TEST_KUBECONFIG names. */
export function testKubeconfig(): string {
  const given = process.env['CAGE_TEST_KUBECONFIG']
  if (given !== undefined) return given
  const state = join(process.env['XDG_STATE_HOME'] ?? '', 'cage')
  for (const project of existsSync(state) ? readdirSync(state) : []) {
    const file = join(state, project, 'kubeconfig')
    if (existsSync(file)) return file
  }
  throw new Error(`no kubeconfig below ${state}`)
}

export function connectToTestCluster(): Promise<Cluster> {
  return connect({kubeconfig: testKubeconfig()})
}
