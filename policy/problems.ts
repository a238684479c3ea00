import {CageError, ExitCode} from '../core/errors.js'
import {visible} from '../core/quote.js'

export type ConfigPath = readonly (string | number)[]

/** Something wrong in a configuration file. */
export interface Problem {
  path: ConfigPath
  /** what is wrong, with what was found: `expected a size such as 8GiB, got "8 gig"` */
  message: string
  /** points at the key rather than at its value */
  atKey?: boolean
}

export interface PlacedProblem extends Problem {
  /** as shown: `cage.yaml` or the path of the operator's file */
  file: string
  line: number
  column: number
}

/** `egress.allow[0].host` */
export function pathText(path: ConfigPath): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`
      const name = /^[A-Za-z_][\w-]*$/.test(part) ? part : JSON.stringify(part)
      return index === 0 ? name : `.${name}`
    })
    .join('')
}

/** A value as a person typed it, shortened and safe for a terminal. */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object' && value !== null) return 'a mapping'
  const text = JSON.stringify(value)
  return visible(text.length > 80 ? `${text.slice(0, 77)}…"` : text)
}

export function lineOf(problem: PlacedProblem): string {
  const at = `${problem.file}:${problem.line}:${problem.column}`
  const path = pathText(problem.path)
  return visible(path === '' ? `${at} ${problem.message}` : `${at} ${path}: ${problem.message}`)
}

/** Every problem at once, in the order of the files. */
export function configError(problems: readonly PlacedProblem[]): CageError {
  const sorted = [...problems].sort(
    (a, b) => (a.file < b.file ? -1 : Number(a.file > b.file)) || a.line - b.line || a.column - b.column,
  )
  const lines = [...new Set(sorted.map(lineOf))]
  return new CageError(lines.join('\n'), {
    code: 'CONFIG_INVALID',
    exitCode: ExitCode.usage,
    hints: [
      lines.length === 1
        ? 'Correct this line; docs/reference/cage-yaml.md lists every field.'
        : `Correct these ${lines.length} places; docs/reference/cage-yaml.md lists every field.`,
    ],
  })
}
