import {hasValidChecksum} from './checksum.js'
import {decodeCandidates, type Decoder} from './decode.js'
import {entropy} from './entropy.js'
import {FingerprintMatcher, type ExactValue, type Fingerprint, type OnValue} from './exact.js'
import {KeywordSearch} from './keywords.js'
import type {RunClass, ScanRule} from './rule.js'
import {ruleTable} from './rules/table.js'
import {ValueMatcher} from './values.js'

/** A place where a secret lies. The value itself is never part of it. */
export interface Finding {
  /** rule id, or `exact:<id>` for a value that cage handed out */
  rule: string
  kind: 'exact' | 'format' | 'generic'
  /** bytes, in what was scanned; of the encoded place when it was decoded */
  offset: number
  length: number
  /** how it was encoded, outermost first; empty = plain */
  via: readonly Decoder[]
}

export interface ScanResult {
  findings: Finding[]
  /** there are more that are exact or of a known format than are listed; the first of each kind always are */
  truncated: boolean
  /** the work budget ran out: not everything was looked at, so treat it as a finding */
  overBudget: boolean
  /** units spent, for tests and metrics */
  work: number
}

export interface ScannerOptions {
  /** values cage handed out, found in every common form */
  exact?: readonly ExactValue[]
  /** the same without the values, made by `fingerprintsOf` */
  fingerprints?: readonly Fingerprint[]
  /** the task's own placeholders: text that no rule counts */
  inert?: readonly string[]
  /** how many layers of encoding are undone; default 2 */
  depth?: number
}

export interface Scanner {
  scan(bytes: Buffer): ScanResult
}

/** The longest text any rule or exact value can match: what a stream has to hold back. */
export const MAX_MATCH = 8192
const WINDOW = 256 * 1024
/**
 * A long text can be scanned in pieces: each begins so many bytes after the one before and goes on for MAX_MATCH bytes more.
 * They are whole windows, so nothing is missed that one scan would find.
 */
export const PIECE_STEP = 4 * (WINDOW - MAX_MATCH)
const BASE_BUDGET = 20_000
const UNITS_PER_BYTE = 0.2
const BYTES_PER_UNIT = 64
/** of each kind, per window: what is harmless in any number must not hide what is not */
const MAX_FINDINGS = 1000
const DEFAULT_MAX = 256
const DEFAULT_ENTROPY = 1.5

/** What may be spent on so many bytes; a unit is about 64 characters looked at. */
export function workBudget(bytes: number): number {
  return BASE_BUDGET + bytes * UNITS_PER_BYTE
}

interface CompiledRule {
  rule: ScanRule
  head: RegExp | undefined
  pattern: RegExp
  /** units charged for one attempt */
  cost: number
  run: Uint8Array | undefined
}

interface Keyword {
  text: Buffer
  rules: readonly CompiledRule[]
}

interface Engine {
  search: KeywordSearch
  keywords: readonly Keyword[]
}

const runClasses: Record<RunClass, Uint8Array> = {
  base64url: classTable('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'),
  base64: classTable('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'),
}

function classTable(characters: string): Uint8Array {
  const table = new Uint8Array(256)
  for (const byte of Buffer.from(characters)) table[byte] = 1
  return table
}

let shared: Engine | undefined

/** Keywords and patterns of the table, compiled once per process. */
function engine(): Engine {
  if (shared) return shared
  const byKeyword = new Map<string, CompiledRule[]>()
  for (const rule of ruleTable) {
    const compiled: CompiledRule = {
      rule,
      head: rule.head === undefined ? undefined : compilePattern(rule.head, rule),
      pattern: compilePattern(rule.pattern, rule),
      cost: 1 + Math.ceil((rule.max ?? DEFAULT_MAX) / BYTES_PER_UNIT / 2),
      run: rule.run && runClasses[rule.run],
    }
    for (const keyword of rule.keywords) {
      const list = byKeyword.get(keyword)
      if (list) list.push(compiled)
      else byKeyword.set(keyword, [compiled])
    }
  }
  const keywords = [...byKeyword].map(([text, rules]) => ({text: Buffer.from(text, 'latin1'), rules}))
  const capitalsCount = ([, rules]: [string, CompiledRule[]]) => rules.every(({rule}) => !rule.ignoreCase)
  const exact = new Set([...byKeyword].filter(capitalsCount).map(([text]) => text))
  shared = {search: new KeywordSearch([...byKeyword.keys()], exact), keywords}
  return shared
}

/** Sticky; `<keyword>` stands for the rule's keywords, longest first. */
export function compilePattern(source: string, {keywords, ignoreCase}: ScanRule): RegExp {
  const literal = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
  const any = [...keywords].sort((a, b) => b.length - a.length).map(literal)
  return new RegExp(source.replace('<keyword>', `(?:${any.join('|')})`), ignoreCase ? 'iy' : 'y')
}

/** Counts what was spent against what the bytes seen so far allow. */
export class Meter {
  work = 0
  private allowed = BASE_BUDGET

  grant(bytes: number): void {
    this.allowed += bytes * UNITS_PER_BYTE
  }

  spend(units: number): boolean {
    this.work += units
    return this.work <= this.allowed
  }

  exceeded(): boolean {
    return this.work > this.allowed
  }
}

/** A scanner over one set of exact values. Reentrant between calls, not within one. */
export function createScanner(options: ScannerOptions = {}): Scanner & WindowScanner {
  const known = new ValueMatcher(options.exact ?? [])
  const blind = new FingerprintMatcher(options.fingerprints ?? [])
  const inert = options.inert ?? []
  const depth = options.depth ?? 2
  const listed = (bytes: Buffer, meter: Meter): FindingList => {
    const list = new FindingList()
    scanLayer(bytes, depth, {known, blind, inert, meter, list}, (offset, length) => ({offset, length}), [])
    return list
  }
  const scan = (bytes: Buffer): ScanResult => {
    const meter = new Meter()
    meter.grant(bytes.length)
    const seen = new Map<string, Finding>()
    let truncated = false
    for (let start = 0; ; start += WINDOW - MAX_MATCH) {
      const window = bytes.subarray(start, start + WINDOW)
      const list = listed(window, meter)
      truncated ||= list.truncated
      for (const finding of list.findings) {
        const moved = {...finding, offset: finding.offset + start}
        seen.set(`${moved.rule} ${moved.offset}`, moved)
      }
      if (start + WINDOW >= bytes.length || meter.exceeded()) break
    }
    return {findings: [...seen.values()], truncated, overBudget: meter.exceeded(), work: meter.work}
  }
  return {scan, scanWindow: (bytes, meter) => listed(bytes, meter).findings}
}

/** One window at a time, for streams; the caller keeps the meter and the overlap. */
export interface WindowScanner {
  scanWindow(bytes: Buffer, meter: Meter): Finding[]
}

class FindingList {
  readonly findings: Finding[] = []
  truncated = false
  readonly #counts = {exact: 0, format: 0, generic: 0}

  add(finding: Finding): void {
    if (this.#counts[finding.kind]++ < MAX_FINDINGS) this.findings.push(finding)
    else if (finding.kind !== 'generic') this.truncated = true
  }
}

interface Layer {
  known: ValueMatcher
  blind: FingerprintMatcher
  inert: readonly string[]
  meter: Meter
  list: FindingList
}

type Place = (offset: number, length: number) => {offset: number; length: number}

function scanLayer(bytes: Buffer, depth: number, layer: Layer, place: Place, via: readonly Decoder[]): void {
  const {meter, list} = layer
  if (via.length > 0 && !meter.spend(bytes.length / BYTES_PER_UNIT)) return
  const report = (rule: string, kind: Finding['kind'], offset: number, length: number) =>
    list.add({rule, kind, ...place(offset, length), via})
  const onValue: OnValue = ({id, length}, offset) => report(`exact:${id}`, 'exact', offset, length)
  const charge = (cost: number) => meter.spend(1 + cost / BYTES_PER_UNIT)
  layer.known.find(bytes, onValue, charge)
  layer.blind.find(bytes, onValue, charge)
  scanRules(bytes, layer, report)
  if (depth === 0 || meter.exceeded()) return
  for (const decoded of decodeCandidates(bytes)) {
    const within: Place = (offset) => {
      const origin = decoded.origin(offset)
      return place(origin.offset, origin.length)
    }
    scanLayer(decoded.bytes, depth - 1, layer, within, [...via, decoded.decoder])
    if (meter.exceeded()) return
  }
}

function scanRules(
  bytes: Buffer,
  {meter, inert}: Layer,
  report: (rule: string, kind: Finding['kind'], offset: number, length: number) => void,
): void {
  const {search, keywords} = engine()
  let text: string | undefined
  const notBefore = new Map<CompiledRule, number>()
  search.find(bytes, (word, at) => {
    const keyword = keywords[word]
    if (!keyword || meter.exceeded()) return
    for (const compiled of keyword.rules) {
      if (at < (notBefore.get(compiled) ?? 0)) continue
      if (!meter.spend(1)) return
      const {rule} = compiled
      if (!rule.ignoreCase && !isAt(bytes, at, keyword.text)) continue
      // One character per byte: offsets are those of the bytes and nothing has to be decoded.
      text ??= bytes.toString('latin1')
      const match = attempt(compiled, text, at, meter)
      if (match) {
        const counted = counts(rule, keyword.text.length, match, inert)
        if (counted) report(rule.id, rule.kind, at, match[0].length)
        // What is no finding must not hide one that begins inside it.
        notBefore.set(compiled, counted || compiled.run ? at + match[0].length : at + 1)
      } else if (compiled.run) {
        const end = runEnd(bytes, at, compiled.run)
        meter.spend((end - at) / BYTES_PER_UNIT)
        notBefore.set(compiled, end)
      }
    }
  })
}

function isAt(bytes: Buffer, at: number, text: Buffer): boolean {
  for (let index = 0; index < text.length; index++) if (bytes[at + index] !== text[index]) return false
  return true
}

function attempt(
  {head, pattern, cost}: CompiledRule,
  text: string,
  at: number,
  meter: Meter,
): RegExpExecArray | null {
  if (head) {
    head.lastIndex = at
    if (!head.test(text)) return null
  }
  if (!meter.spend(cost)) return null
  pattern.lastIndex = at
  return pattern.exec(text)
}

function runEnd(bytes: Buffer, from: number, run: Uint8Array): number {
  let end = from
  while (end < bytes.length && run[bytes[end] ?? 0] === 1) end++
  return end
}

/** Filters after the match: what cage itself handed out as inert, proof by checksum, stop words, entropy. */
function counts(rule: ScanRule, skip: number, match: RegExpExecArray, inert: readonly string[]): boolean {
  const value = match[1] ?? match[0].slice(skip)
  if (inert.some((placeholder) => placeholder.includes(match[0]) || match[0].includes(placeholder)))
    return false
  if (inert.some((placeholder) => value.length >= 16 && placeholder.includes(value))) return false
  // A wrong checksum excuses nothing: one changed character would hide the rest.
  if (rule.checksum && hasValidChecksum(value)) return true
  if (rule.mixed && !isMixed(value)) return false
  if (rule.digits && value.replace(/[^0-9]/g, '').length * 16 < value.length) return false
  if (rule.stopWords) {
    const folded = value.toLowerCase()
    if (rule.stopWords.some((word) => folded.includes(word))) return false
  }
  return entropy(value) >= (rule.entropy ?? DEFAULT_ENTROPY)
}

/** Letters and digits in one text, but neither an identifier path, a UUID, a file name nor a number. */
function isMixed(value: string): boolean {
  if (!/[0-9]/.test(value) || !/[A-Za-z]/.test(value)) return false
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(value)) return false
  if (/^[A-Za-z_$][A-Za-z_$]*[0-9]{0,2}(?:[.-][A-Za-z_$]+[0-9]{0,2})*$/.test(value)) return false
  if (/^[A-Za-z_$]+[0-9]{0,5}[A-Za-z_$]*(?:\.[A-Za-z_$]+[0-9]{0,5}[A-Za-z_$]*)+$/.test(value)) return false
  return !/^[./~@]?(?:[\w.@-]+\/)+[\w.-]+\.[a-z]{1,5}$/.test(value)
}
