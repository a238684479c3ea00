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

/** An image with a shell that lies on the node already: nothing is pulled there. */
export async function imageOnNode(cluster: Cluster): Promise<string> {
  const nodes = await cluster.list({apiVersion: 'v1', kind: 'Node'})
  const names = nodes
    .flatMap(({status}) => (status as {images?: {names: string[]}[]}).images ?? [])
    .flatMap(({names}) => names)
  const image = names.find((name) => /^cage\.local\/(agent|test):/.test(name))
  if (image === undefined) throw new Error(`no image with a shell on the node: ${names.join(' ')}`)
  return image
}
