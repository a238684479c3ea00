import {shown, type Problem} from './problems.js'
import {violations, type Violation} from './schema/interpret.js'
import {operatorSchema} from './schema/operator.js'
import {projectSchema} from './schema/project.js'

/** Validation of both files against the one schema; every problem at once, in words. */
export function schemaProblems(kind: 'project' | 'operator', data: unknown): Problem[] {
  return violations(kind === 'project' ? projectSchema : operatorSchema, data).map(problemOf)
}

function problemOf({path, keyword, schema, value}: Violation): Problem {
  const expected = schema['x-expected'] ?? 'another form'
  const got = `got ${shown(value)}`
  switch (keyword) {
    case 'additionalProperties': {
      const near = nearest(String(path.at(-1)), Object.keys(schema.properties ?? {}))
      return {path, message: `unknown key${near === undefined ? '' : `, did you mean ${near}?`}`, atKey: true}
    }
    case 'propertyName':
      return {path, message: `as a name expected ${expected}`, atKey: true}
    case 'required':
      return {path, message: 'is missing', atKey: true}
    case 'type':
      return {path, message: `expected ${kindText(schema.type ?? '')}, ${got}`}
    case 'enum':
      return {path, message: `expected ${choices(schema.enum ?? [])}, ${got}`}
    case 'const':
      return {path, message: `expected ${shown(schema.const)}, ${got}`}
    case 'pattern':
      return {path, message: `expected ${expected}, ${got}`}
    case 'minLength':
      return {path, message: 'must not be empty'}
    case 'maxLength':
      return {path, message: `must not be longer than ${schema.maxLength ?? 0} characters`}
    case 'minimum':
      return {path, message: `expected ${schema.minimum ?? 0} or more, ${got}`}
    case 'maximum':
      return {path, message: `expected ${schema.maximum ?? 0} or less, ${got}`}
    case 'minItems':
      return {path, message: 'must not be an empty list'}
    case 'maxItems':
      return {path, message: `must not have more than ${schema.maxItems ?? 0} entries`}
    case 'minProperties':
      return {path, message: `needs one of ${Object.keys(schema.properties ?? {}).join(', ')}`}
    case 'maxProperties':
      return {
        path,
        message: schema.properties
          ? `must have exactly one of ${Object.keys(schema.properties).join(', ')}`
          : `must not have more than ${schema.maxProperties ?? 0} entries`,
      }
    case 'uniqueItems':
      return {path, message: 'is in the list twice'}
  }
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
