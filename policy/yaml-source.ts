import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  parseDocument,
  visit,
  type Document,
} from 'yaml'
import {messageOf} from '../core/errors.js'
import {visible} from '../core/quote.js'
import type {PlacedProblem, Problem} from './problems.js'

const MAX_BYTES = 256 * 1024
const MAX_DEPTH = 32

/** One YAML file with a way from a path in its data back to the line. */
export interface YamlSource {
  file: string
  /** plain data; an empty file is an empty mapping */
  data: unknown
  /** the file cannot be used at all when this is not empty */
  problems: PlacedProblem[]
  place: (problem: Problem) => PlacedProblem
}

/** Parses without aliases, merge keys and tags of its own, so that no small text becomes a large structure. */
export function readYaml(file: string, text: string): YamlSource {
  const lines = new LineCounter()
  const at = (offset: number) => {
    const {line, col} = lines.linePos(offset)
    return {line: Math.max(1, line), column: Math.max(1, col)}
  }
  const broken = (message: string, offset = 0): YamlSource => ({
    file,
    data: {},
    problems: [{file, path: [], message, ...at(offset)}],
    place: (problem) => ({...problem, file, line: 1, column: 1}),
  })
  if (Buffer.byteLength(text) > MAX_BYTES) return broken(`is larger than ${MAX_BYTES / 1024} KiB`)
  if (text.includes('\0') || text.includes('\ufffd')) return broken('is not UTF-8 text')
  if (nesting(text) > MAX_DEPTH) return broken(`is nested deeper than ${MAX_DEPTH} levels`)
  let document: Document.Parsed
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: true,
      merge: false,
      schema: 'core',
      version: '1.2',
      stringKeys: true,
    })
  } catch (error) {
    return broken(`cannot be read: ${messageOf(error)}`)
  }
  const problems: PlacedProblem[] = [...document.errors, ...document.warnings].map((error) => ({
    file,
    path: [],
    message: visible(firstLine(error.message)),
    ...at(error.pos[0]),
  }))
  problems.push(...forbidden(document).map(({message, offset}) => ({file, path: [], message, ...at(offset)})))
  const place = (problem: Problem) => ({...problem, file, ...at(offsetOf(document, problem))})
  if (problems.length > 0) return {file, data: {}, problems, place}
  const data: unknown = document.toJS({maxAliasCount: 0})
  return {file, data: data ?? {}, problems, place}
}

/** An upper bound of the depth of flow and block collections, before a recursive parser sees the text. */
function nesting(text: string): number {
  let depth = 0
  let deepest = 0
  for (const character of text) {
    if (character === '[' || character === '{') deepest = Math.max(deepest, ++depth)
    else if (character === ']' || character === '}') depth = Math.max(0, depth - 1)
  }
  for (const line of text.split('\n')) {
    const markers = /^(?:[ \t]*[-?:][ \t]+)+/.exec(line)?.[0].replace(/[ \t]/g, '').length ?? 0
    const indent = /^ */.exec(line)?.[0].length ?? 0
    // One level takes at least one column, or one marker on the same line.
    if (indent <= 4 * MAX_DEPTH) deepest = Math.max(deepest, markers)
    else deepest = Math.max(deepest, MAX_DEPTH + 1)
  }
  return deepest
}

function forbidden(document: Document.Parsed): {message: string; offset: number}[] {
  const found: {message: string; offset: number}[] = []
  visit(document, {
    Node: (_key, node) => {
      const offset = node.range?.[0] ?? 0
      if (isAlias(node))
        found.push({message: 'aliases (`*name`) are not supported: write the value out', offset})
      else if ((isScalar(node) || isCollection(node)) && node.anchor)
        found.push({message: 'anchors (`&name`) are not supported: write the value out', offset})
      return undefined
    },
  })
  return found
}

/** The value at a path, or its key; for what is missing the nearest mapping that is there. */
function offsetOf(document: Document.Parsed, problem: Problem): number {
  let node: unknown = document.contents
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0
  for (const [index, part] of problem.path.entries()) {
    if (!isCollection(node)) break
    if (isMap(node)) {
      const pair = node.items.find(({key}) => isScalar(key) && String(key.value) === String(part))
      if (!pair) break
      const last = index === problem.path.length - 1
      const target =
        (last && problem.atKey) || !isNode(pair.value) || !pair.value.range ? pair.key : pair.value
      offset = isNode(target) ? (target.range?.[0] ?? offset) : offset
      node = pair.value
    } else {
      node = node.get(part, true)
      offset = isNode(node) ? (node.range?.[0] ?? offset) : offset
    }
  }
  return offset
}

function firstLine(message: string): string {
  return message.split('\n')[0] ?? message
}
