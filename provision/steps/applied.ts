import {createHash} from 'node:crypto'
import type {KubeObject} from '../../core/kube-object.js'
import type {Cluster, CallOptions, ObjectRef} from '../../kube/cluster.js'

const HASH = 'cage.internal/applied'

/** Every object carries the hash of what was applied, so that a later run sees in one read each whether anything is to do. */
export function stamped(objects: readonly KubeObject[]): KubeObject[] {
  return objects.map((object) => {
    const hash = createHash('sha256').update(JSON.stringify(object)).digest('hex').slice(0, 32)
    const annotations = {...object.metadata.annotations, [HASH]: hash}
    return {...object, metadata: {...object.metadata, annotations}}
  })
}

/** True when each object is in the cluster with the stamp it would get now. */
export async function areApplied(
  cluster: Cluster,
  objects: readonly KubeObject[],
  options: CallOptions,
): Promise<boolean> {
  const same = await Promise.all(
    objects.map(async (object) => {
      const found = await cluster.get(refOf(object), options)
      return found?.metadata.annotations?.[HASH] === object.metadata.annotations?.[HASH]
    }),
  )
  return same.every(Boolean)
}

export function refOf({apiVersion, kind, metadata: {name, namespace}}: KubeObject): ObjectRef {
  return {apiVersion, kind, name, ...(namespace === undefined ? {} : {namespace})}
}
