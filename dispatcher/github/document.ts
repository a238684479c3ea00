import {OperationTypeNode} from 'graphql/language/ast.js'
import type {
  ASTNode,
  DocumentNode,
  FieldNode,
  FragmentDefinitionNode,
  OperationDefinitionNode,
} from 'graphql/language/ast.js'
import {Kind} from 'graphql/language/kinds.js'
import {parse} from 'graphql/language/parser.js'
import {print} from 'graphql/language/printer.js'
import {visit} from 'graphql/language/visitor.js'
import {valueFromASTUntyped} from 'graphql/utilities/valueFromASTUntyped.js'
import type {GithubRepository} from '../../policy/github-repository.js'
import {ApiDenied} from './denied.js'
import {checkFields, type CheckedInput, type TaskBranches} from './fields.js'
import {mutations, type MutationRule, type NodeRule} from './mutations.js'
import {requireSearchHere} from './search.js'
import {fieldsOf, SelectionWalk, type Fragments} from './selection-walk.js'
import {rootFields} from './selections.js'
import {whyNotMutation} from './write-classes.js'

/** One request to /graphql, taken apart, judged as far as that goes without asking GitHub, and built anew. */
export interface GraphqlRequest {
  operation: 'query' | 'mutation'
  /** as the client named it */
  name?: string
  roots: string[]
  /** ids that must be looked up before the request goes on */
  ids: {id: string; rule: NodeRule | 'in the repository'}[]
  /** of a mutation */
  change?: {field: string; rule: MutationRule; input: CheckedInput}
  /** JSON for GitHub */
  body: string
}

/** Where the task's pull request leads to. */
export interface OwnRepository extends TaskBranches, GithubRepository {}

type Variables = Record<string, unknown>

const MAX_TOKENS = 20_000
const INPUT = 'cageInput'
const bad = (message: string) => new ApiDenied('github.graphql', message)

/** Reads the body of a POST to /graphql. Throws ApiDenied. */
export function readGraphql(body: string, task: OwnRepository): GraphqlRequest {
  const {query, variables, operationName} = envelopeOf(body)
  const document = parsed(query)
  const fragments = new Map<string, FragmentDefinitionNode>()
  const operations: OperationDefinitionNode[] = []
  for (const definition of document.definitions) {
    if (definition.kind === Kind.OPERATION_DEFINITION) operations.push(definition)
    else if (definition.kind === Kind.FRAGMENT_DEFINITION && !fragments.has(definition.name.value))
      fragments.set(definition.name.value, definition)
    else throw bad('the query defines what a query does not define')
  }
  const [operation] = operations
  if (operations.length !== 1 || !operation) throw bad('one request holds exactly one operation')
  if (operationName !== undefined && operationName !== operation.name?.value)
    throw bad('operationName is not the name of the operation')
  if (operation.operation === OperationTypeNode.SUBSCRIPTION) throw bad('subscriptions are not available')
  if ((operation.directives?.length ?? 0) > 0) throw bad('an operation has no directives here')
  const names = (operation.variableDefinitions ?? []).map(({variable}) => variable.name.value)
  if (new Set(names).size < names.length) throw bad('a variable is declared twice')
  const request = {operation, fragments, variables}
  return operation.operation === OperationTypeNode.MUTATION
    ? readMutation(request, task)
    : readQuery(request, document, task)
}

interface Parts {
  operation: OperationDefinitionNode
  fragments: Fragments
  variables: Variables
}

function readQuery(parts: Parts, document: DocumentNode, task: OwnRepository): GraphqlRequest {
  const {operation, fragments} = parts
  const variables = declared(parts)
  const walk = new SelectionWalk(fragments)
  const ids: GraphqlRequest['ids'] = []
  const roots = fieldsOf(operation.selectionSet, fragments)
  for (const field of roots) {
    const name = field.name.value
    const args = argumentsOf(field, variables)
    if (!rootFields.has(name)) throw bad(`the field ${shown(name)} of a query is not read here`)
    if (name === 'repository') requireRepository(args, task)
    if (name === 'search') requireSearchHere(args['query'], task)
    if (name === 'node' || name === 'nodes') {
      const given = name === 'node' ? [args['id']] : args['ids']
      if (!Array.isArray(given) || given.length > 100) throw bad('nodes takes a list of at most 100 ids')
      for (const id of given) ids.push({id: nodeId(id), rule: 'in the repository'})
    }
    const place = {repository: 'repository', viewer: 'viewer', __type: 'types'} as const
    walk.check(field.selectionSet, Object.hasOwn(place, name) ? place[name as keyof typeof place] : 'plain')
  }
  return {
    ...named(operation),
    operation: 'query',
    roots: roots.map(({name}) => name.value),
    ids,
    body: envelope(print(document), variables, operation),
  }
}

function readMutation(parts: Parts, task: OwnRepository): GraphqlRequest {
  const {operation, fragments} = parts
  const roots = fieldsOf(operation.selectionSet, fragments)
  const [field] = roots
  const denied = roots.find(({name}) => !Object.hasOwn(mutations, name.value))?.name.value
  if (denied !== undefined)
    throw new ApiDenied(
      'github.never',
      `${shown(denied)} is not available to a task: ${whyNotMutation(denied)}`,
    )
  if (roots.length !== 1 || !field) throw bad('one request holds exactly one mutation')
  if ((field.directives?.length ?? 0) > 0) throw bad('a mutation is not made conditional')
  if (operation.variableDefinitions?.some(({defaultValue}) => defaultValue))
    throw bad('the variables of a mutation have no defaults')
  const name = field.name.value
  const rule = mutations[name]
  const {input, ...rest} = argumentsOf(field, declared(parts))
  if (!rule || !isObject(input) || Object.keys(rest).length > 0) throw bad(`${name} takes one input object`)
  const ids = Object.entries(rule.ids).flatMap(([key, kind]) =>
    input[key] === undefined || input[key] === null ? [] : [{key, id: nodeId(input[key]), rule: kind}],
  )
  if (ids.length === 0) throw bad(`${name} needs ${Object.keys(rule.ids).join(' or ')}`)
  const others = Object.fromEntries(Object.entries(input).filter(([key]) => !Object.hasOwn(rule.ids, key)))
  const checked = checkFields({...rule.fields, clientMutationId: 'word'}, others, task)
  for (const key of rule.required ?? [])
    if (checked.values[key] === undefined) throw bad(`${name} needs ${key}`)
  new SelectionWalk(fragments).check(field.selectionSet, 'plain')
  const sent = {...checked.values, ...Object.fromEntries(ids.map(({key, id}) => [key, id]))}
  return {
    ...named(operation),
    operation: 'mutation',
    roots: [name],
    ids: ids.map(({id, rule: kind}) => ({id, rule: kind})),
    change: {field: name, rule, input: checked},
    body: rebuilt(parts, field, sent),
  }
}

/** The mutation with the input as it was judged, and with only the variables and fragments that are still used. */
function rebuilt({operation, fragments, variables}: Parts, field: FieldNode, input: Variables): string {
  const used = new Set<string>()
  const kept = new Map<string, FragmentDefinitionNode>()
  const collect = (node: ASTNode) => {
    visit(node, {
      Variable: ({name}) => void used.add(name.value),
      FragmentSpread: ({name}) => {
        const fragment = fragments.get(name.value)
        if (fragment && !kept.has(name.value)) {
          kept.set(name.value, fragment)
          collect(fragment)
        }
      },
    })
  }
  if (field.selectionSet) collect(field.selectionSet)
  const name = field.name.value
  const inputType = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input!`
  const definitions = [
    `$${INPUT}: ${inputType}`,
    ...(operation.variableDefinitions ?? [])
      .filter(({variable}) => used.has(variable.name.value))
      .map((definition) => print(definition)),
  ]
  const alias = field.alias ? `${field.alias.value}: ` : ''
  const selection = field.selectionSet ? ` ${print(field.selectionSet)}` : ''
  const title = operation.name ? ` ${operation.name.value}` : ''
  const query = [
    `mutation${title}(${definitions.join(', ')}) { ${alias}${name}(input: $${INPUT})${selection} }`,
    ...[...kept.values()].map((fragment) => print(fragment)),
  ].join('\n')
  const values = Object.fromEntries(Object.entries(variables).filter(([key]) => used.has(key)))
  return envelope(query, {...values, [INPUT]: input}, operation)
}

function envelopeOf(body: string): {query: string; variables: Variables; operationName?: string} {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    throw bad('the body is not JSON')
  }
  if (!isObject(value)) throw bad('the body is not one JSON object')
  for (const key of Object.keys(value))
    if (!['query', 'variables', 'operationName'].includes(key))
      throw bad('the body may hold query, variables and operationName only')
  const {query, variables, operationName} = value
  if (typeof query !== 'string') throw bad('the query is missing')
  if (variables !== undefined && variables !== null && !isObject(variables))
    throw bad('variables is not an object')
  if (operationName !== undefined && operationName !== null && typeof operationName !== 'string')
    throw bad('operationName is not a text')
  return {
    query,
    variables: variables ?? {},
    ...(typeof operationName === 'string' && operationName !== '' ? {operationName} : {}),
  }
}

function parsed(query: string): DocumentNode {
  try {
    return parse(query, {maxTokens: MAX_TOKENS, noLocation: true})
  } catch {
    throw bad('the query cannot be parsed, or is too large')
  }
}

/** Only variables that the operation declares, with its defaults. */
function declared({operation, variables}: Parts): Variables {
  return Object.fromEntries(
    (operation.variableDefinitions ?? []).flatMap(({variable, defaultValue}) => {
      const name = variable.name.value
      if (Object.hasOwn(variables, name)) return [[name, variables[name]]]
      return defaultValue ? [[name, valueFromASTUntyped(defaultValue)]] : []
    }),
  )
}

/** Two of one name are no GraphQL, but not every server says so: which of them would be judged? */
function argumentsOf(
  {name: {value: field}, arguments: given = []}: FieldNode,
  variables: Variables,
): Variables {
  if (new Set(given.map(({name}) => name.value)).size < given.length)
    throw bad(`${shown(field)} has an argument twice`)
  return Object.fromEntries(given.map(({name, value}) => [name.value, valueFromASTUntyped(value, variables)]))
}

function requireRepository({owner, name}: Variables, task: OwnRepository): void {
  const same = (value: unknown, ours: string) =>
    typeof value === 'string' && value.toLowerCase() === ours.toLowerCase()
  if (!same(owner, task.owner) || !same(name, task.name))
    throw new ApiDenied(
      'github.repository',
      `a task sees its own repository only, which is ${task.owner}/${task.name}`,
    )
}

function nodeId(value: unknown): string {
  if (typeof value !== 'string' || !/^[A-Za-z0-9_=+/-]{1,200}$/.test(value))
    throw bad('an id is missing or malformed')
  return value
}

function named({name}: OperationDefinitionNode): {name?: string} {
  return name ? {name: name.value} : {}
}

function envelope(query: string, variables: Variables, {name}: OperationDefinitionNode): string {
  return JSON.stringify({query, variables, ...(name ? {operationName: name.value} : {})})
}

function isObject(value: unknown): value is Variables {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function shown(name: string): string {
  return name.slice(0, 60)
}
