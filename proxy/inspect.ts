import {createHash} from 'node:crypto'
import {createStreamScanner} from '../scan/stream.js'
import type {Finding, ScanResult, Scanner, WindowScanner} from '../scan/scanner.js'
import {Denial} from './denial.js'
import type {Headers, RequestFacts} from './facts.js'

export interface RecordedFinding {
  rule: string
  place: Place
  /** the first 16 hex digits of the found text's SHA-256, so that repeats correlate; absent in streams */
  sha256?: string
}

export type Place = 'host' | 'url' | 'header' | 'body'

const MAX_CLEAN = 256
const MAX_CLEAN_LENGTH = 4096

/** Texts that a scanner found nothing in, the last so many: programs send the same header block over and over. */
export class CleanTexts {
  readonly #known = new Set<string>()

  has(text: string): boolean {
    return this.#known.has(text)
  }

  add(text: string): void {
    if (text.length > MAX_CLEAN_LENGTH) return
    if (this.#known.size >= MAX_CLEAN) this.#known.delete(this.#known.values().next().value ?? '')
    this.#known.add(text)
  }
}

/** How one endpoint's requests are looked at. */
export interface Detectors {
  /** knows every real value and every placeholder */
  strict: Scanner
  /** of `strict` alone: another scanner may know what this one does not */
  clean: CleanTexts
  /** for bodies: the endpoint's own placeholders are inert text there */
  body: Scanner & WindowScanner
  /** findings by pattern in bodies are recorded instead of refused */
  auditBody: boolean
  /** false where another part judges content: then only cage's own values count */
  patterns: boolean
}

/** Start of the ids of placeholders among the exact values. */
export const placeholderId = 'placeholder:'

/** Judges what leaves in one request and remembers what was let through with a record. */
export class Inspection {
  readonly recorded: RecordedFinding[] = []
  readonly #detectors: Detectors

  constructor(detectors: Detectors) {
    this.#detectors = detectors
  }

  /**
   * Address and headers in one run: the address as sent and decoded, the headers line by line, and all values and all
   * names without what is between them, because a secret may be split over two. Throws Denial `placeholder_unbound`,
   * `secret_found` or `scan_budget`.
   */
  head({rawTarget}: Pick<RequestFacts, 'rawTarget'>, headers: Headers): void {
    const once = percentDecoded(rawTarget)
    let text = `${rawTarget}\n`
    if (once !== rawTarget) text += `${once}\n${percentDecoded(once)}\n`
    const addressLength = text.length
    let values = ''
    let names = ''
    for (const [name, value] of headers) {
      text += `${name}: ${value}\n`
      values += value
      names += name
    }
    text += `${values}\n${names}`
    const {strict, clean} = this.#detectors
    if (clean.has(text)) return
    const placeOf = (offset: number) => (offset < addressLength ? 'url' : 'header')
    if (this.#whole(strict, Buffer.from(text, 'latin1'), placeOf).length === 0) clean.add(text)
  }

  /** As `head`, for the part of a host's name that the agent chose: resolvers and whoever sees the handshake read it. */
  name(chosen: string): void {
    const {strict, clean} = this.#detectors
    const text = `${chosen}\n${chosen.replaceAll('.', '')}`
    if (!clean.has(text) && this.#whole(strict, Buffer.from(text, 'latin1'), () => 'host').length === 0)
      clean.add(text)
  }

  /** As `head`, for a body that is there as a whole, as sent or decoded. */
  body(bytes: Buffer): void {
    this.#whole(this.#detectors.body, bytes, () => 'body')
  }

  /** As `head`, for a body that is too large to hold: gives back what may be forwarded. */
  bodyStream(): {push(chunk: Buffer): Buffer; end(): Buffer} {
    const stream = createStreamScanner(this.#detectors.body, {
      stops: (finding) => this.#refusal(finding, 'body') !== undefined,
    })
    const judged = (step: ReturnType<typeof stream.push>) => {
      for (const finding of step.findings) this.#judge(finding, 'body')
      if (step.overBudget || step.stopped) throw new Denial('scan_budget', {status: 413, detail: 'body'})
      return step.release
    }
    return {push: (chunk) => judged(stream.push(chunk)), end: () => judged(stream.end())}
  }

  #whole(scanner: Scanner, bytes: Buffer, placeOf: (offset: number) => Place): readonly Finding[] {
    let result: ScanResult
    try {
      result = scanner.scan(bytes)
    } catch (cause) {
      throw new Denial('scan_failed', {detail: `${placeOf(0)}: ${String(cause)}`})
    }
    for (const finding of result.findings) this.#judge(finding, placeOf(finding.offset), bytes)
    if (result.overBudget) throw new Denial('scan_budget', {detail: placeOf(bytes.length)})
    return result.findings
  }

  #judge(finding: Finding, place: Place, bytes?: Buffer): void {
    const refusal = this.#refusal(finding, place)
    if (refusal) throw refusal
    if (!this.#detectors.patterns || this.recorded.length >= 100) return
    const text = bytes?.subarray(finding.offset, finding.offset + finding.length)
    const sha256 = text && createHash('sha256').update(text).digest('hex').slice(0, 16)
    if (this.recorded.some((known) => known.rule === finding.rule && known.sha256 === sha256)) return
    this.recorded.push({rule: finding.rule, place, ...(sha256 === undefined ? {} : {sha256})})
  }

  /** Why a finding ends the request; undefined = it is only recorded. Shapes of text are too often no secret. */
  #refusal({rule, kind}: Finding, place: Place): Denial | undefined {
    if (rule.startsWith(`exact:${placeholderId}`))
      return new Denial('placeholder_unbound', {rule, detail: place})
    if (kind === 'exact') return new Denial('secret_found', {rule, detail: place})
    const {patterns, auditBody} = this.#detectors
    if (!patterns || kind === 'generic' || (place === 'body' && auditBody)) return undefined
    return new Denial('secret_found', {rule, detail: place})
  }
}

/** Every valid escape decoded, `+` as a space, the rest left as it is: never throws. */
function percentDecoded(text: string): string {
  if (!/[%+]/.test(text)) return text
  const decode = (_: string, hex: string) => String.fromCharCode(parseInt(hex, 16))
  return text.replaceAll('+', ' ').replace(/%([0-9a-f]{2})/gi, decode)
}
