import {Ajv2020, type ErrorObject, type ValidateFunction} from 'ajv/dist/2020.js'
import {shown, type ConfigPath, type Problem} from './problems.js'
import type {SchemaNode} from './schema/node.js'
import {configSchema} from './schema/operator.js'

/** Validation of both files against the one schema; every problem at once, in words. */

let compiled: Record<'project' | 'operator', ValidateFunction> | undefined

function validators(): Record<'project' | 'operator', ValidateFunction> {
  if (compiled) return compiled
  const ajv = new Ajv2020({strict: true, allErrors: true, verbose: true})
  ajv.addKeyword({keyword: 'x-class', schemaType: 'string'})
  ajv.addKeyword({keyword: 'x-expected', schemaType: 'string'})
  ajv.addSchema(configSchema)
  const get = (name: string) => ajv.compile({$ref: `cage-config-1#/$defs/${name}`})
  compiled = {project: get('project'), operator: get('operator')}
  return compiled
}

export function schemaProblems(kind: 'project' | 'operator', data: unknown): Problem[] {
  const validate = validators()[kind]
  if (validate(data)) return []
  // A value of a wrong type breaks the other rules of its place as well: the type is what to say.
  const errors = [...(validate.errors ?? [])].sort(
    (a, b) => Number(b.keyword === 'type') - Number(a.keyword === 'type'),
  )
  return errors.flatMap((error) => problemOf(error))
}

function problemOf(error: ErrorObject): Problem[] {
  const path = pathOf(error.instancePath)
  const schema = error.parentSchema as SchemaNode | undefined
  const params = error.params as Record<string, unknown>
  const got = `got ${shown(error.data)}`
  const expected = schema?.['x-expected']
  switch (error.keyword) {
    case 'additionalProperties': {
      const key = String(params['additionalProperty'])
      const near = nearest(key, Object.keys(schema?.properties ?? {}))
      return [
        {
          path: [...path, key],
          message: `unknown key${near === undefined ? '' : `, did you mean ${near}?`}`,
          atKey: true,
        },
      ]
    }
    case 'propertyNames':
      // The rule of the name itself reports it, below.
      return []
    case 'required':
      return [{path: [...path, String(params['missingProperty'])], message: 'is missing', atKey: true}]
    case 'type':
      return [{path, message: `expected ${kindText(String(params['type']))}, ${got}`}]
    case 'enum':
      return [{path, message: `expected ${choices(schema?.enum ?? [])}, ${got}`}]
    case 'const':
      return [{path, message: `expected ${shown(schema?.const)}, ${got}`}]
    case 'pattern':
      if (error.propertyName !== undefined)
        return [
          {
            path: [...path, error.propertyName],
            message: `as a name expected ${expected ?? 'another form'}`,
            atKey: true,
          },
        ]
      return [{path, message: `expected ${expected ?? 'another form'}, ${got}`}]
    case 'minLength':
      return [{path, message: 'must not be empty'}]
    case 'maxLength':
      return [{path, message: `must not be longer than ${String(params['limit'])} characters`}]
    case 'minimum':
    case 'maximum':
      return [{path, message: `expected ${String(params['comparison'])} ${String(params['limit'])}, ${got}`}]
    case 'minItems':
      return [{path, message: 'must not be an empty list'}]
    case 'maxItems':
    case 'maxProperties':
      return [{path, message: sizeMessage(schema, Number(params['limit']))}]
    case 'minProperties':
      return [{path, message: `needs one of ${Object.keys(schema?.properties ?? {}).join(', ')}`}]
    case 'uniqueItems':
      return [{path: [...path, Number(params['i'])], message: 'is in the list twice'}]
    default:
      return [{path, message: `${error.message ?? 'is not valid'}, ${got}`}]
  }
}

function sizeMessage(schema: SchemaNode | undefined, limit: number): string {
  return limit === 1
    ? `must have exactly one of ${Object.keys(schema?.properties ?? {}).join(', ')}`
    : `must not have more than ${limit} entries`
}

function kindText(type: string): string {
  const words: Record<string, string> = {
    object: 'a mapping',
    array: 'a list',
    string: 'a text',
    integer: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
  }
  return words[type] ?? type
}

function choices(values: readonly unknown[]): string {
  const texts = values.map(String)
  return texts.length < 2 ? texts.join('') : `${texts.slice(0, -1).join(', ')} or ${texts.at(-1) ?? ''}`
}

/** A JSON pointer as keys and indexes. */
function pathOf(pointer: string): ConfigPath {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^(?:0|[1-9]\d*)$/.test(part) ? Number(part) : part))
}

/** The known name that a person most likely meant: at most two edits away. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const scored = known
    .map((name) => ({name, distance: editDistance(word.toLowerCase(), name.toLowerCase())}))
    .filter(({name, distance}) => distance <= Math.min(2, Math.floor(name.length / 2)))
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
  return scored[0]?.name
}

function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3
  let row = Array.from({length: b.length + 1}, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1),
      )
    row = next
  }
  return row[b.length] ?? 3
}
