import {Ajv2020} from 'ajv/dist/2020.js'
import {describe, expect, test} from '@jest/globals'
import {violations} from '../../../policy/schema/interpret.js'
import type {SchemaNode} from '../../../policy/schema/node.js'
import {configSchema, operatorSchema} from '../../../policy/schema/operator.js'
import {projectSchema} from '../../../policy/schema/project.js'
import {seededRandom} from '../../support/secret-sample.js'
import {expectGolden} from '../../support/golden.js'

const ajv = new Ajv2020({strict: true, allErrors: true})
for (const keyword of ['x-class', 'x-expected']) ajv.addKeyword({keyword, schemaType: 'string'})
ajv.addSchema(configSchema)
const byAjv = {
  project: ajv.compile({$ref: 'cage-config-1#/$defs/project'}),
  operator: ajv.compile({$ref: 'cage-config-1#/$defs/operator'}),
}
const schemas = {project: projectSchema, operator: operatorSchema}

/** Calls back for every field of a schema. */
function walk(schema: SchemaNode, path: string, visit: (node: SchemaNode, path: string) => void): void {
  visit(schema, path)
  for (const [name, child] of Object.entries(schema.properties ?? {})) walk(child, `${path}.${name}`, visit)
  if (schema.items) walk(schema.items, `${path}[]`, visit)
  if (schema.additionalProperties) walk(schema.additionalProperties, `${path}.*`, visit)
}

describe('the schema', () => {
  test('is draft 2020-12, strictly', () => expect(configSchema.$schema).toContain('2020-12'))

  test('describes every field and closes every mapping', () => {
    walk(projectSchema, 'cage.yaml', (node, path) => {
      expect([path, node.description ?? '']).toEqual([path, expect.stringMatching(/\.$/)])
      if (node.type === 'object') expect([path, node.additionalProperties]).not.toEqual([path, undefined])
    })
  })

  test('gives every field of cage.yaml a class, its own or that of what holds it', () => {
    const unclassed: string[] = []
    const visit = (node: SchemaNode, path: string, inherited: string | undefined) => {
      const own = node['x-class'] ?? inherited
      const children = Object.entries(node.properties ?? {})
      if (children.length === 0 && own === undefined) unclassed.push(path)
      for (const [name, child] of children) visit(child, `${path}.${name}`, own)
    }
    visit(projectSchema, '', undefined)
    expect(unclassed).toEqual([])
  })

  test('stays what scripts and editors rely on', () => {
    expectGolden('policy/config-schema.json', `${JSON.stringify(configSchema, null, 2)}\n`)
  })
})

describe('the interpreter agrees with ajv', () => {
  const texts = [
    '',
    'x',
    'main',
    '8GiB',
    '4h',
    'GET',
    '/v1',
    'https://a.com',
    'hosted',
    'auto',
    'A_B',
    'a@b.c',
    '*.example.com',
    'Bearer {}',
    'ü😀',
    'x'.repeat(5000),
    '__proto__',
    'constructor',
    'a <a@b.c>',
  ]
  const scalars: unknown[] = [...texts, 0, 1, -1, 1.5, 22, 70000, true, false, null, 1e308]

  /** Data that is mostly right, with something wrong here and there. */
  function generate(schema: SchemaNode, random: () => number, depth = 0): unknown {
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
    if (random() < 0.06 || depth > 8) return random() < 0.5 ? pick(scalars) : pick([[], {}, [[]], {a: 1}])
    if (schema.const !== undefined) return schema.const
    if (schema.enum) return pick(schema.enum)
    switch (schema.type) {
      case 'object': {
        const entries = Object.entries(schema.properties ?? {})
          .filter(([name]) => schema.required?.includes(name) ?? random() < 0.4)
          .map(([name, child]) => [name, generate(child, random, depth + 1)] as const)
        const more = schema.additionalProperties
          ? [[pick(texts), generate(schema.additionalProperties, random, depth + 1)] as const]
          : []
        const wrong = random() < 0.05 ? [[pick(texts), 1] as const] : []
        return Object.fromEntries([...entries, ...more, ...wrong])
      }
      case 'array':
        return Array.from({length: Math.floor(random() * 3)}, () =>
          generate(schema.items ?? {}, random, depth + 1),
        )
      case 'integer':
        return pick([1, 2, 443, 0, 65536])
      case 'number':
        return pick([0.1, 2, 0, 1000])
      case 'boolean':
        return random() < 0.5
      default:
        return pick(texts)
    }
  }

  test.each(['project', 'operator'] as const)('on generated data: %s', (kind) => {
    const random = seededRandom(42)
    const judged = {valid: 0, invalid: 0}
    for (let round = 0; round < 1500; round++) {
      const data = generate(schemas[kind], random)
      const valid = violations(schemas[kind], data).length === 0
      expect({data, valid}).toEqual({data, valid: byAjv[kind](data)})
      judged[valid ? 'valid' : 'invalid']++
    }
    expect(judged.valid).toBeGreaterThan(50)
    expect(judged.invalid).toBeGreaterThan(50)
  })
})
