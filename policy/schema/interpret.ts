import type {ConfigPath} from '../problems.js'
import type {SchemaNode} from './node.js'

/**
 * Judges data by the part of JSON Schema that `SchemaNode` can express. Compiling a general validator for each start of
 * the CLI takes half a second; a test holds this one against ajv.
 */
export interface Violation {
  path: ConfigPath
  keyword:
    | 'additionalProperties'
    | 'const'
    | 'enum'
    | 'maxItems'
    | 'maxLength'
    | 'maxProperties'
    | 'maximum'
    | 'minItems'
    | 'minLength'
    | 'minProperties'
    | 'minimum'
    | 'pattern'
    | 'propertyName'
    | 'required'
    | 'type'
    | 'uniqueItems'
  schema: SchemaNode
  value: unknown
}

/** Every violation, outer before inner, in the order of the data. */
export function violations(schema: SchemaNode, value: unknown, path: ConfigPath = []): Violation[] {
  const here = (
    keyword: Violation['keyword'],
    at: ConfigPath = path,
    of = schema,
    found = value,
  ): Violation => ({
    path: at,
    keyword,
    schema: of,
    value: found,
  })
  // Of a wrong type nothing else is worth saying.
  if (schema.type !== undefined && !hasType(value, schema.type)) return [here('type')]
  if (schema.const !== undefined && schema.const !== value) return [here('const')]
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [here('enum')]
  if (typeof value === 'string') return stringViolations(schema, value).map((keyword) => here(keyword))
  if (typeof value === 'number') return numberViolations(schema, value).map((keyword) => here(keyword))
  if (Array.isArray(value)) {
    const {items, minItems = 0, maxItems = Infinity} = schema
    return [
      ...(value.length < minItems ? [here('minItems')] : []),
      ...(value.length > maxItems ? [here('maxItems')] : []),
      ...(schema.uniqueItems ? repeated(value).map((index) => here('uniqueItems', [...path, index])) : []),
      ...(items ? value.flatMap((item, index) => violations(items, item, [...path, index])) : []),
    ]
  }
  if (typeof value !== 'object' || value === null) return []
  return objectViolations(schema, value as Record<string, unknown>, path, here)
}

function objectViolations(
  schema: SchemaNode,
  value: Record<string, unknown>,
  path: ConfigPath,
  here: (keyword: Violation['keyword'], at?: ConfigPath, of?: SchemaNode, found?: unknown) => Violation,
): Violation[] {
  const {properties = {}, additionalProperties, propertyNames, required = []} = schema
  const keys = Object.keys(value)
  const found: Violation[] = []
  if (keys.length < (schema.minProperties ?? 0)) found.push(here('minProperties'))
  if (keys.length > (schema.maxProperties ?? Infinity)) found.push(here('maxProperties'))
  for (const name of required) if (!Object.hasOwn(value, name)) found.push(here('required', [...path, name]))
  for (const key of keys) {
    const at = [...path, key]
    const known = Object.hasOwn(properties, key) ? properties[key] : undefined
    if (propertyNames?.pattern !== undefined && !new RegExp(propertyNames.pattern, 'u').test(key))
      found.push(here('propertyName', at, propertyNames, key))
    if (known) found.push(...violations(known, value[key], at))
    else if (additionalProperties === false) found.push(here('additionalProperties', at))
    else if (additionalProperties) found.push(...violations(additionalProperties, value[key], at))
  }
  return found
}

function hasType(value: unknown, type: NonNullable<SchemaNode['type']>): boolean {
  switch (type) {
    case 'array':
      return Array.isArray(value)
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value)
    case 'integer':
      return Number.isInteger(value)
    case 'number':
      return Number.isFinite(value)
    default:
      return typeof value === type
  }
}

function stringViolations(schema: SchemaNode, value: string): Violation['keyword'][] {
  const length = Array.from(value).length
  if (length < (schema.minLength ?? 0)) return ['minLength']
  if (length > (schema.maxLength ?? Infinity)) return ['maxLength']
  return schema.pattern === undefined || new RegExp(schema.pattern, 'u').test(value) ? [] : ['pattern']
}

function numberViolations(schema: SchemaNode, value: number): Violation['keyword'][] {
  if (value < (schema.minimum ?? -Infinity)) return ['minimum']
  return value > (schema.maximum ?? Infinity) ? ['maximum'] : []
}

/** Indexes of members that stand in the list before. */
function repeated(list: readonly unknown[]): number[] {
  const texts = list.map((item) => JSON.stringify(item))
  return texts.flatMap((text, index) => (texts.indexOf(text) < index ? [index] : []))
}
