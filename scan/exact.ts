import {createHash} from 'node:crypto'
import {CageError, ExitCode} from '../core/errors.js'

/**
 * Exact values that cage itself handed out. Whoever may not know them has their fingerprints: found by a rolling hash
 * over ANCHOR bytes and confirmed by SHA-256.
 */
export const MIN_EXACT_LENGTH = 8
const ANCHOR = 8
const MIN_FOLDED = 16
const PIECE = 96
/** base64 of `openssh-key-v1`: of every such key the first line is the same */
const OPENSSH_BEGINNING = 'b3BlbnNzaC1rZXktdjE'
const MULTIPLIER = 0x01000193
/** MULTIPLIER to the power of ANCHOR - 1, modulo 2^32 */
const LEAVING = Array.from({length: ANCHOR - 1}).reduce<number>((power) => Math.imul(power, MULTIPLIER), 1)

export interface ExactValue {
  /** shown in findings as `exact:<id>`, e.g. the credential's name */
  id: string
  value: string
}

export interface Fingerprint {
  id: string
  /** how the value was written, e.g. `raw`, `base64`, `hex` */
  form: string
  length: number
  /** rolling hash of the first ANCHOR bytes, unsigned 32 bit */
  anchor: number
  /** of the whole form, base64 */
  sha256: string
}

/** One way in which a value, or a piece of a long one, can be written. */
export interface ExactForm {
  id: string
  /** as in Fingerprint */
  form: string
  /** at least MIN_EXACT_LENGTH bytes */
  text: Buffer
}

/** Hears of a value that was found, and where. */
export type OnValue = (found: {id: string; length: number}, offset: number) => void

/** Every form of every value, each once; throws CageError EXACT_TOO_SHORT for a value that would match by chance. */
export function formsOf(values: readonly ExactValue[]): ExactForm[] {
  const found = new Map<string, ExactForm>()
  for (const {id, value} of values) {
    const bytes = Buffer.from(value)
    if (bytes.length < MIN_EXACT_LENGTH)
      throw new CageError(
        `the value of ${id} is shorter than ${MIN_EXACT_LENGTH} bytes: it cannot be protected`,
        {
          code: 'EXACT_TOO_SHORT',
          exitCode: ExitCode.precondition,
          hints: [`Give ${id} a longer value.`],
        },
      )
    for (const piece of piecesOf(bytes))
      for (const [form, text] of writings(piece)) {
        const key = `${id}\n${text.toString('latin1')}`
        if (text.length >= MIN_EXACT_LENGTH && !found.has(key)) found.set(key, {id, form, text})
      }
  }
  return [...found.values()]
}

/** As `formsOf`, without the values. */
export function fingerprintsOf(values: readonly ExactValue[]): Fingerprint[] {
  return formsOf(values).map(({id, form, text}) => {
    const sha256 = createHash('sha256').update(text).digest('base64')
    return {id, form, length: text.length, anchor: anchorOf(text, 0), sha256}
  })
}

/** A long value is cut, so that a part of it is found as well; the last piece ends with the value. */
function piecesOf(bytes: Buffer): Buffer[] {
  if (bytes.length <= PIECE * 1.5) return [bytes]
  const pieces: Buffer[] = []
  for (let at = 0; at + PIECE <= bytes.length; at += PIECE) pieces.push(bytes.subarray(at, at + PIECE))
  if (bytes.length % PIECE) pieces.push(bytes.subarray(-PIECE))
  return [...pieces, ...keyLines(bytes.toString('latin1'))]
}

/** Lines of the private keys in a text, PEM (RFC 7468) as it is or inside JSON: a line is what is copied of a key. */
function keyLines(text: string): Buffer[] {
  return [...text.matchAll(/-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(.*?)-----END/gs)]
    .flatMap(([, body = '']) => body.split(/\r?\n|\\n/))
    .filter((line) => /^[A-Za-z0-9+/]{32,}={0,2}$/.test(line) && !line.startsWith(OPENSSH_BEGINNING))
    .map((line) => Buffer.from(line))
}

function writings(piece: Buffer): [string, Buffer][] {
  const text = piece.toString('utf8')
  const hex = piece.toString('hex')
  const percent = encodeURIComponent(text)
  const json = JSON.stringify(text).slice(1, -1)
  const utf16 = Buffer.from(text, 'utf16le')
  const forms: [string, Buffer][] = [
    ['raw', piece],
    ['reversed', Buffer.from(piece).reverse()],
    ['hex', Buffer.from(hex)],
    ['hex', Buffer.from(hex.toUpperCase())],
    ['url', Buffer.from(percent)],
    ['url', Buffer.from(percent.replace(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase()))],
    ['json', Buffer.from(json)],
    ['json', Buffer.from(JSON.stringify(json).slice(1, -1))],
    ['utf16', utf16],
    ['utf16', Buffer.from(utf16).swap16()],
  ]
  // Names of hosts and of headers lose their case on the way. A short value in other letters may be a word.
  if (piece.length >= MIN_FOLDED)
    for (const folded of [text.toLowerCase(), text.toUpperCase()]) forms.push(['case', Buffer.from(folded)])
  for (const [form, digits] of [
    ['hex', hex],
    ['hex', hex.toUpperCase()],
  ] as const)
    for (const between of [' ', ':', '-', '=']) forms.push([form, Buffer.from(separated(digits, between))])
  for (const write of entities) forms.push(['html', Buffer.from(Array.from(piece, write).join(''))])
  for (const alignment of [0, 1, 2]) {
    const inner = base64Inside(piece, alignment)
    forms.push(['base64', Buffer.from(inner)])
    forms.push(['base64', Buffer.from(inner.replaceAll('+', '-').replaceAll('/', '_'))])
  }
  return forms
}

/** Each byte as HTML writes it by number. */
const entities = [
  (byte: number) => `&#${byte};`,
  (byte: number) => `&#x${byte.toString(16)};`,
  (byte: number) => `&#x${byte.toString(16).toUpperCase()};`,
]

/** Pairs of hex digits with something between them; `=` is how quoted-printable writes them. */
function separated(hex: string, between: string): string {
  return (hex.match(/../g) ?? []).join(between)
}

/** The base64 characters that depend on the value alone when it starts at this offset modulo 3 of what is encoded. */
function base64Inside(piece: Buffer, alignment: number): string {
  const encoded = Buffer.concat([Buffer.alloc(alignment), piece])
    .toString('base64')
    .replace(/=+$/, '')
  const first = [0, 2, 3][alignment] ?? 0
  const partial = (alignment + piece.length) % 3 !== 0
  return encoded.slice(first, partial ? -1 : undefined)
}

function anchorOf(bytes: Uint8Array, from: number): number {
  let hash = 0
  for (let at = from; at < from + ANCHOR; at++) hash = (Math.imul(hash, MULTIPLIER) + (bytes[at] ?? 0)) | 0
  return hash >>> 0
}

/** Finds fingerprinted values in one pass. */
export class FingerprintMatcher {
  private readonly byAnchor = new Map<number, Fingerprint[]>()
  /** one bit of certainty per 16 bits of hash: most positions end here */
  private readonly maybe = new Uint8Array(65536)

  constructor(fingerprints: readonly Fingerprint[]) {
    for (const fingerprint of fingerprints) {
      const list = this.byAnchor.get(fingerprint.anchor)
      if (list) list.push(fingerprint)
      else this.byAnchor.set(fingerprint.anchor, [fingerprint])
      this.maybe[fingerprint.anchor >>> 16] = 1
    }
  }

  /**
   * @param charge called before each confirmation with its cost in bytes; false stops the search
   */
  find(bytes: Buffer, onValue: OnValue, charge: (cost: number) => boolean): void {
    if (this.byAnchor.size === 0 || bytes.length < ANCHOR) return
    const {maybe} = this
    let hash = anchorOf(bytes, 0) | 0
    for (let from = 0; ; from++) {
      if (maybe[hash >>> 16] === 1 && !this.confirm(bytes, from, hash >>> 0, onValue, charge)) return
      if (from + ANCHOR >= bytes.length) return
      hash = Math.imul((hash - Math.imul(bytes[from] ?? 0, LEAVING)) | 0, MULTIPLIER)
      hash = (hash + (bytes[from + ANCHOR] ?? 0)) | 0
    }
  }

  private confirm(
    bytes: Buffer,
    from: number,
    hash: number,
    onValue: OnValue,
    charge: (cost: number) => boolean,
  ): boolean {
    for (const fingerprint of this.byAnchor.get(hash) ?? []) {
      if (from + fingerprint.length > bytes.length) continue
      if (!charge(fingerprint.length)) return false
      const text = bytes.subarray(from, from + fingerprint.length)
      if (createHash('sha256').update(text).digest('base64') === fingerprint.sha256)
        onValue(fingerprint, from)
    }
    return true
  }
}
