import {stringify} from 'yaml'
import type {KubeObject} from '../core/kube-object.js'

/** Objects as YAML for people. Values of Secrets are not shown. */
export function renderForPeople(objects: readonly KubeObject[]): string {
  return toYaml(objects.map(withoutSecretValues))
}

/** Objects as YAML documents that every reader understands alike: quoted where YAML 1.1 and 1.2 differ. */
export function toYaml(objects: readonly KubeObject[]): string {
  return objects
    .map(
      (object) =>
        `---\n${stringify(object, {compat: 'yaml-1.1', lineWidth: 0, aliasDuplicateObjects: false})}`,
    )
    .join('')
}

export function withoutSecretValues(object: KubeObject): KubeObject {
  if (object.kind !== 'Secret') return object
  const hidden = (values: unknown) =>
    Object.fromEntries(Object.keys(values ?? {}).map((key) => [key, '(not shown)']))
  return {
    ...object,
    ...(object['data'] === undefined ? {} : {data: hidden(object['data'])}),
    ...(object['stringData'] === undefined ? {} : {stringData: hidden(object['stringData'])}),
  }
}
