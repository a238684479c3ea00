import type {FieldNode, FragmentDefinitionNode, SelectionSetNode} from 'graphql/language/ast.js'
import {Kind} from 'graphql/language/kinds.js'
import {ApiDenied} from './denied.js'
import {deniedFields, namesOnly, repositoryOnly, shallowFields, viewerFields} from './selections.js'

/** Where in a query a selection stands; see selections.ts. */
export type Place = 'repository' | 'plain' | 'shallow' | 'viewer' | 'types'

export type Fragments = ReadonlyMap<string, FragmentDefinitionNode>

const MAX_DEPTH = 30
const MAX_FIELDS = 10_000

/** The fields of a selection with those of its fragments, which are followed. Throws ApiDenied on a cycle. */
export function fieldsOf(selection: SelectionSetNode, fragments: Fragments): FieldNode[] {
  const found: FieldNode[] = []
  const walk = ({selections}: SelectionSetNode, seen: ReadonlySet<string>): void => {
    for (const one of selections) {
      for (const {name} of one.directives ?? [])
        if (name.value !== 'include' && name.value !== 'skip')
          throw new ApiDenied('github.graphql', 'only the directives include and skip can be used')
      if (one.kind === Kind.FIELD) found.push(one)
      else if (one.kind === Kind.INLINE_FRAGMENT) walk(one.selectionSet, seen)
      else {
        const name = one.name.value
        const fragment = fragments.get(name)
        if (!fragment || seen.has(name))
          throw new ApiDenied('github.graphql', 'a fragment of the query is missing or contains itself')
        walk(fragment.selectionSet, new Set([...seen, name]))
      }
      if (found.length > MAX_FIELDS) throw tooLarge()
    }
  }
  walk(selection, new Set())
  return found
}

/** Judges everything below one field. */
export class SelectionWalk {
  readonly #fragments: Fragments
  #fields = 0

  constructor(fragments: Fragments) {
    this.#fragments = fragments
  }

  check(selection: SelectionSetNode | undefined, place: Place, depth = 1): void {
    if (!selection) return
    if (depth > MAX_DEPTH) throw tooLarge()
    for (const field of fieldsOf(selection, this.#fragments)) {
      if (++this.#fields > MAX_FIELDS) throw tooLarge()
      const name = field.name.value
      if (place !== 'types') judge(name, field, place)
      const below = place === 'types' || place === 'shallow' || place === 'viewer' ? place : 'plain'
      this.check(field.selectionSet, shallowFields.has(name) ? 'shallow' : below, depth + 1)
    }
  }
}

function judge(name: string, {selectionSet}: FieldNode, place: Place): void {
  const leads = () =>
    new ApiDenied('github.graphql', `the field ${name} is not read here: a task sees its own repository only`)
  if (deniedFields.has(name)) throw leads()
  if (repositoryOnly.has(name) && place !== 'repository') throw leads()
  if (place === 'viewer' && !viewerFields.has(name)) throw leads()
  if (place === 'shallow' && selectionSet && !namesOnly.has(name)) throw leads()
}

function tooLarge(): ApiDenied {
  return new ApiDenied('github.graphql', 'the query is too large or too deep')
}
