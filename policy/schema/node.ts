/**
 * Who may set a field: `narrow` needs nobody, `ask` waits for `cage trust`, `operator` counts only in the
 * operator's own file. docs/reference/cage-yaml.md is made from these annotations.
 */
export type FieldClass = 'narrow' | 'ask' | 'operator'

/** The part of JSON Schema (draft 2020-12) that cage uses, with two annotations of its own. */
export interface SchemaNode {
  $schema?: string
  $id?: string
  $ref?: string
  $defs?: Readonly<Record<string, SchemaNode>>
  title?: string
  description?: string
  type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean'
  const?: unknown
  enum?: readonly unknown[]
  default?: unknown
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  items?: SchemaNode
  minItems?: number
  maxItems?: number
  uniqueItems?: boolean
  properties?: Readonly<Record<string, SchemaNode>>
  additionalProperties?: SchemaNode | false
  propertyNames?: SchemaNode
  required?: readonly string[]
  minProperties?: number
  maxProperties?: number
  'x-class'?: FieldClass
  /** what a good value looks like, for the message about a bad one */
  'x-expected'?: string
}

export function object(
  description: string,
  properties: Readonly<Record<string, SchemaNode>>,
  more: SchemaNode = {},
): SchemaNode {
  return {type: 'object', description, properties, additionalProperties: false, ...more}
}

export function list(description: string, items: SchemaNode, more: SchemaNode = {}): SchemaNode {
  return {type: 'array', description, items, maxItems: 1000, ...more}
}

export function map(
  description: string,
  names: SchemaNode,
  values: SchemaNode,
  more: SchemaNode = {},
): SchemaNode {
  return {
    type: 'object',
    description,
    propertyNames: names,
    additionalProperties: values,
    maxProperties: 1000,
    ...more,
  }
}

export function text(description: string, more: SchemaNode = {}): SchemaNode {
  return {type: 'string', description, minLength: 1, maxLength: 4096, ...more}
}

export function choice(description: string, values: readonly string[], more: SchemaNode = {}): SchemaNode {
  return {type: 'string', description, enum: values, ...more}
}

export function flag(description: string, more: SchemaNode = {}): SchemaNode {
  return {type: 'boolean', description, ...more}
}
