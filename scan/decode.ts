/**
 * Finds what looks encoded and collects the decoded bytes of all such places in one buffer per decoder, so that
 * the scanner runs once over each. Costs are linear: a byte is decoded a fixed number of times.
 */
export type Decoder = 'base64' | 'hex' | 'escape' | 'utf16'

export interface Decoded {
  decoder: Decoder
  bytes: Buffer
  /** where an offset in `bytes` came from: the encoded place */
  origin(offset: number): {offset: number; length: number}
}

const MIN_BASE64 = 16
const MIN_HEX = 16
const MIN_UTF16 = 16
/** Text round an escape that is decoded with it: a token may begin well before its escaped character. */
const ESCAPE_CONTEXT = 512

const BASE64 = 1
const HEX = 2
const classes = new Uint8Array(256)
for (const byte of Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_'))
  classes[byte] = BASE64
for (const byte of Buffer.from('0123456789abcdefABCDEF')) classes[byte] = BASE64 | HEX

const CR = 13
const LF = 10
const BACKSLASH = 92

/** Decoded bytes of every encoded place, grouped by decoder; empty when nothing looks encoded. */
export function decodeCandidates(bytes: Buffer): Decoded[] {
  const runs = findRuns(bytes)
  return [
    decodeBase64(bytes, runs.base64),
    decodeHex(bytes, runs.hex),
    decodeEscapes(bytes),
    decodeUtf16(bytes),
  ].filter((decoded) => decoded !== undefined)
}

/** Collects decoded pieces with a gap between them, so that no match runs from one into the next. */
class Collector {
  private readonly pieces: Buffer[] = []
  private readonly starts: number[] = []
  private readonly places: {offset: number; length: number}[] = []
  private size = 0

  add(piece: Buffer, offset: number, length: number): void {
    this.starts.push(this.size)
    this.places.push({offset, length})
    this.pieces.push(piece, gap)
    this.size += piece.length + gap.length
  }

  finish(decoder: Decoder): Decoded | undefined {
    if (this.pieces.length === 0) return undefined
    const {starts, places} = this
    const origin = (offset: number) => {
      let low = 0
      let high = starts.length - 1
      while (low < high) {
        const middle = (low + high + 1) >> 1
        if ((starts[middle] ?? 0) <= offset) low = middle
        else high = middle - 1
      }
      return places[low] ?? {offset: 0, length: 0}
    }
    return {decoder, bytes: Buffer.concat(this.pieces), origin}
  }
}
const gap = Buffer.from('\n\n')

interface Run {
  start: number
  end: number
}

/** Runs of base64 and of hex characters; a base64 run goes on over a line break, plain or written as `\n`. */
function findRuns(bytes: Buffer): {base64: Run[]; hex: Run[]} {
  const base64: Run[] = []
  const hex: Run[] = []
  let start = -1
  let hexStart = -1
  let letters = 0
  const closeHex = (end: number) => {
    if (hexStart >= 0 && end - hexStart >= MIN_HEX) hex.push({start: hexStart, end})
    hexStart = -1
  }
  for (let at = 0; at <= bytes.length; at++) {
    const kind = at < bytes.length ? (classes[bytes[at] ?? 0] ?? 0) : 0
    if (kind & HEX) {
      if (hexStart < 0) hexStart = at
    } else closeHex(at)
    if (kind) {
      if (start < 0) {
        start = at
        letters = 0
      }
      letters++
      continue
    }
    if (start < 0) continue
    const next = letters >= MIN_BASE64 ? afterLineBreak(bytes, at) : at
    if (next > at && next < bytes.length && classes[bytes[next] ?? 0]) {
      at = next - 1
      continue
    }
    if (letters >= MIN_BASE64) base64.push({start, end: at})
    start = -1
  }
  return {base64, hex}
}

function afterLineBreak(bytes: Buffer, at: number): number {
  let next = at
  if (bytes[next] === CR) next++
  if (bytes[next] === LF) return next + 1
  next = at
  if (bytes[next] === BACKSLASH && bytes[next + 1] === 0x72) next += 2
  return bytes[next] === BACKSLASH && bytes[next + 1] === 0x6e ? next + 2 : at
}

/** Where the encoded text begins inside a run is unknown: all four alignments are decoded. */
function decodeBase64(bytes: Buffer, runs: readonly Run[]): Decoded | undefined {
  const collector = new Collector()
  for (const {start, end} of runs) {
    const run = bytes.toString('latin1', start, end)
    const text = /[\r\n\\]/.test(run) ? run.replace(/\r?\n|(?:\\r)?\\n/g, '') : run
    for (let alignment = 0; alignment < 4; alignment++)
      collector.add(Buffer.from(alignment ? text.slice(alignment) : text, 'base64'), start, end - start)
  }
  return collector.finish('base64')
}

function decodeHex(bytes: Buffer, runs: readonly Run[]): Decoded | undefined {
  const collector = new Collector()
  for (const {start, end} of runs) {
    const text = bytes.toString('latin1', start, end)
    for (const alignment of [0, 1])
      collector.add(Buffer.from(text.slice(alignment), 'hex'), start, end - start)
  }
  return collector.finish('hex')
}

const PERCENT = 37
const percentEscape = /%([0-9a-fA-F]{2})/y
const textEscape = /\\(?:u00|u\{0{0,4}|x)([0-9a-fA-F]{2})\}?|\\(\/)/y

/** Percent escapes, JSON and C escapes of ASCII characters, decoded with the text round them. */
function decodeEscapes(bytes: Buffer): Decoded | undefined {
  const places = escapePlaces(bytes)
  if (places.length === 0) return undefined
  const collector = new Collector()
  let window: {start: number; end: number; first: number; last: number} | undefined
  const flush = (from: number, to: number, first: number, last: number) => {
    const out = Buffer.alloc(to - from)
    let size = 0
    let copied = from
    for (let index = first; index <= last; index++) {
      const place = places[index]
      if (!place) break
      size += bytes.copy(out, size, copied, place.at)
      out[size++] = place.byte
      copied = place.at + place.length
    }
    size += bytes.copy(out, size, copied, to)
    const begin = places[first]?.at ?? from
    collector.add(out.subarray(0, size), begin, (places[last]?.at ?? to) - begin + 1)
  }
  places.forEach((place, index) => {
    const start = Math.max(0, place.at - ESCAPE_CONTEXT)
    const end = Math.min(bytes.length, place.at + ESCAPE_CONTEXT)
    if (window && start <= window.end) {
      window.end = end
      window.last = index
      return
    }
    if (window) flush(window.start, window.end, window.first, window.last)
    window = {start, end, first: index, last: index}
  })
  if (window) flush(window.start, window.end, window.first, window.last)
  return collector.finish('escape')
}

function escapePlaces(bytes: Buffer): {at: number; length: number; byte: number}[] {
  const places: {at: number; length: number; byte: number}[] = []
  let text: string | undefined
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte !== PERCENT && byte !== BACKSLASH) continue
    text ??= bytes.toString('latin1')
    const pattern = byte === PERCENT ? percentEscape : textEscape
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (!match) continue
    const value = match[2] === '/' ? 47 : parseInt(match[1] ?? '', 16)
    // Bytes of a multi-byte character belong to no token; leaving them saves most work on foreign text.
    if (value < 0x20 || value > 0x7e) continue
    places.push({at, length: match[0].length, byte: value})
    at += match[0].length - 1
  }
  return places
}

/** Runs of ASCII in UTF-16, either byte order. */
function decodeUtf16(bytes: Buffer): Decoded | undefined {
  if (!bytes.includes(0)) return undefined
  const collector = new Collector()
  for (const parity of [0, 1]) {
    let start = -1
    for (let at = parity; at <= bytes.length; at += 2) {
      const [character, other] = [bytes[at] ?? 255, bytes[at + 1] ?? 255]
      // Little endian starts on its character; big endian is the same text one byte later.
      const ascii = other === 0 && character >= 0x20 && character <= 0x7e
      if (ascii) {
        if (start < 0) start = at
        continue
      }
      if (start >= 0 && (at - start) / 2 >= MIN_UTF16 - 1) {
        const run = bytes.subarray(start, Math.min(at + 1, bytes.length))
        const out = Buffer.alloc((at - start) / 2 + 1)
        for (let index = 0; index * 2 < run.length; index++) out[index] = run[index * 2] ?? 0
        collector.add(out, start, at - start)
      }
      start = -1
    }
  }
  return collector.finish('utf16')
}
