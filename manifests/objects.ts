import {parseAllDocuments} from 'yaml'
import {CageError} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'

/**
 * Rendered text → objects. A field whose value is null is left out. The kinds must be exactly the expected ones in their
 * order, so that a template cannot add an object nobody checks. Errors: MANIFEST_INVALID.
 */
export function parseObjects(source: string, text: string, kinds: readonly string[]): KubeObject[] {
  const documents = parseAllDocuments(text, {uniqueKeys: true, version: '1.2'})
  const objects: KubeObject[] = []
  for (const document of Array.isArray(documents) ? documents : []) {
    const [error] = document.errors
    if (error) throw invalid(source, error.message.split('\n')[0] ?? '')
    objects.push(shaped(source, withoutNulls(document.toJS({maxAliasCount: 0}))))
  }
  const got = objects.map(({kind}) => kind)
  if (got.join() !== kinds.join())
    throw invalid(source, `renders ${got.join(', ') || 'nothing'}, not ${kinds.join(', ')}`)
  return objects
}

export function invalid(source: string, why: string): CageError {
  return new CageError(`the manifest ${source} is not sound: ${why}`, {code: 'MANIFEST_INVALID'})
}

function shaped(source: string, value: unknown): KubeObject {
  const object = value as Partial<KubeObject> | null
  if (typeof object !== 'object' || object === null) throw invalid(source, 'a document is not an object')
  const {apiVersion, kind, metadata} = object
  if (typeof apiVersion !== 'string' || typeof kind !== 'string')
    throw invalid(source, 'apiVersion or kind is missing')
  if (typeof metadata !== 'object' || typeof metadata.name !== 'string')
    throw invalid(source, `${kind} has no name`)
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(metadata.name)) {
    throw invalid(source, `"${metadata.name}" is no name of a ${kind}`)
  }
  for (const map of [metadata.labels ?? {}, metadata.annotations ?? {}]) {
    if (Object.values(map).some((entry) => typeof entry !== 'string')) {
      throw invalid(source, `a label or annotation of ${kind} ${metadata.name} is not text`)
    }
  }
  return object as KubeObject
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, entry]) => entry !== null)
      .map(([name, entry]) => [name, withoutNulls(entry)]),
  )
}
