import type {FieldNode, FragmentDefinitionNode, SelectionSetNode} from 'graphql/language/ast.js'
import {Kind} from 'graphql/language/kinds.js'
import {ApiDenied} from './denied.js'
import {deniedFields, namesOnly, repositoryOnly, shallowFields, viewerFields} from './selections.js'

/** Where in a query a selection stands; see selections.ts. */
export type Place = 'repository' | 'plain' | 'shallow' | 'viewer' | 'types'

export type Fragments = ReadonlyMap<string, FragmentDefinitionNode>

const MAX_DEPTH = 30
const MAX_STEPS = 10_000

/**
 * The fields of a selection with those of its fragments, which are followed. Throws ApiDenied on a cycle.
 * @param left steps that may still be taken, every spread being one: fragments that name one another twice have no end
 */
export function fieldsOf(
  selection: SelectionSetNode,
  fragments: Fragments,
  left = {steps: MAX_STEPS},
): FieldNode[] {
  const found: FieldNode[] = []
  const seen = new Set<string>()
  const walk = ({selections}: SelectionSetNode): void => {
    for (const one of selections) {
      if (--left.steps < 0) throw tooLarge()
      for (const {name} of one.directives ?? [])
        if (name.value !== 'include' && name.value !== 'skip')
          throw new ApiDenied('github.graphql', 'only the directives include and skip can be used')
      if (one.kind === Kind.FIELD) found.push(one)
      else if (one.kind === Kind.INLINE_FRAGMENT) walk(one.selectionSet)
      else {
        const name = one.name.value
        const fragment = fragments.get(name)
        if (!fragment || seen.has(name))
          throw new ApiDenied('github.graphql', 'a fragment of the query is missing or contains itself')
        seen.add(name)
        walk(fragment.selectionSet)
        seen.delete(name)
      }
    }
  }
  walk(selection)
  return found
}

/** Judges everything below one field. */
export class SelectionWalk {
  readonly #fragments: Fragments
  readonly #left = {steps: MAX_STEPS}

  constructor(fragments: Fragments) {
    this.#fragments = fragments
  }

  check(selection: SelectionSetNode | undefined, place: Place, depth = 1): void {
    if (!selection) return
    if (depth > MAX_DEPTH) throw tooLarge()
    for (const field of fieldsOf(selection, this.#fragments, this.#left)) {
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
