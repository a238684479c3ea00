import {readFileSync} from 'node:fs'
import {describe, expect, it} from '@jest/globals'
import {getNamedType, isInputObjectType, isInterfaceType, isObjectType, validate, parse} from 'graphql'
import {deniedMutations} from '../../../../dispatcher/github/denied-mutations.js'
import {deniedWrites} from '../../../../dispatcher/github/denied-writes.js'
import {aboutNode} from '../../../../dispatcher/github/lookups.js'
import {mutations} from '../../../../dispatcher/github/mutations.js'
import {routes} from '../../../../dispatcher/github/routes.js'
import {deniedFields, rootFields, shallowFields} from '../../../../dispatcher/github/selections.js'
import {words} from '../../../../dispatcher/github/write-classes.js'
import {githubSchema} from '../../../support/fake-github-graphql.js'

const schema = githubSchema()

/** Every operation of GitHub's REST description, as `METHOD /path`. */
function describedOperations(): string[] {
  const types = readFileSync('node_modules/@octokit/openapi-types/types.d.ts', 'utf8')
  const paths = types.slice(
    types.indexOf('export interface paths {'),
    types.indexOf('export interface webhooks {'),
  )
  let path = ''
  return paths.split('\n').flatMap((line) => {
    path = /^ {2}"(\/[^"]*)": \{/.exec(line)?.[1] ?? path
    const method = /^ {4}(get|put|post|patch|delete|head|options|trace)\??: operations\[/.exec(line)?.[1]
    return method === undefined ? [] : [`${method.toUpperCase()} ${path}`]
  })
}

/** Parameters by place: GitHub's names for them are of no matter. */
const shape = (operation: string) => operation.replace(/\{\w+\}/g, '{}')

describe('what GitHub can do', () => {
  it('has no write over REST that nobody has judged', () => {
    const described = describedOperations()
    expect(described.length).toBeGreaterThan(1200)
    const writes = described.filter((operation) => !operation.startsWith('GET '))
    const allowed = routes.filter(({method}) => method !== 'GET').map(({method, path}) => `${method} ${path}`)
    const denied = Object.values(deniedWrites).flatMap((list) => list.trim().split('\n'))
    expect([...allowed, ...denied].map(shape).sort()).toEqual(writes.map(shape).sort())
  })

  it('has every read that is allowed', () => {
    const described = new Set(describedOperations().map(shape))
    const unknown = routes
      .map(({method, path}) => shape(`${method} ${path}`))
      .filter((one) => !described.has(one))
    // The lists of a folder's root, which the description leaves out.
    expect(unknown).toEqual(['GET /repos/{}/{}/contents'])
  })

  it('has no mutation that nobody has judged', () => {
    const fields = Object.keys(schema.getMutationType()?.getFields() ?? {})
    expect(fields.length).toBeGreaterThan(200)
    const denied = Object.values(deniedMutations).flatMap(words)
    expect([...Object.keys(mutations), ...denied].sort()).toEqual(fields.sort())
  })

  it('takes the inputs that are allowed, under these names', () => {
    const known = (input: string) => {
      const type = schema.getType(input)
      return isInputObjectType(type) ? Object.keys(type.getFields()) : []
    }
    for (const [name, {ids, fields}] of Object.entries(mutations)) {
      const input = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`
      expect(String(schema.getMutationType()?.getFields()[name]?.args[0]?.type)).toBe(`${input}!`)
      expect(known(input)).toEqual(expect.arrayContaining([...Object.keys(ids), ...Object.keys(fields)]))
    }
  })

  it('answers the question about a node', () => {
    const wrong = validate(schema, parse(aboutNode)).map(({message}) => message)
    expect(wrong).toEqual([])
  })

  it('has no field that leads to other repositories and is in none of the lists', () => {
    const far =
      /^(?:Repository|Gist|Enterprise|StarredRepository|TeamRepository|UserNamespaceRepository|Organization)(?:Connection)?$/
    // What a connection holds is reached through the connection.
    const inside = new Set(['nodes', 'node', 'edges'])
    const open = Object.values(schema.getTypeMap()).flatMap((type) => {
      if (!isObjectType(type) && !isInterfaceType(type)) return []
      if (/^(?:Enterprise|.*AuditEntry|.*Payload|.*Hovercard.*|.*Edge)/.test(type.name)) return []
      return Object.values(type.getFields())
        .filter((field) => far.test(getNamedType(field.type).name))
        .filter(({name}) => !inside.has(name) && !deniedFields.has(name) && !shallowFields.has(name))
        .map(({name}) => `${type.name}.${name}`)
    })
    const roots = Object.keys(schema.getQueryType()?.getFields() ?? {}).filter(
      (name) => !rootFields.has(name),
    )
    expect(open.filter((one) => !roots.map((name) => `Query.${name}`).includes(one))).toEqual([
      // The organization on whose behalf a commit was made, and what a sponsors listing belongs to: names of people.
      'Commit.onBehalfOf',
      'SponsorsListing.fiscalHost',
    ])
  })
})
