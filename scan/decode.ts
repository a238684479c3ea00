import {decodeBase64Run, decodeHexRun} from './decode-runs.js'
import {escapePlaces} from './escapes.js'
import {compressedPlaces, inflateStart} from './inflate.js'

/**
 * Finds what looks encoded and collects the decoded bytes of all such places in one buffer per decoder, so that
 * the scanner runs once over each. Costs are linear: a byte is decoded a fixed number of times.
 */
export type Decoder = 'base64' | 'hex' | 'escape' | 'utf16' | 'deflate'

export interface Decoded {
  decoder: Decoder
  bytes: Buffer
  /** where an offset in `bytes` came from: the encoded place */
  origin(offset: number): {offset: number; length: number}
}

/** A place of encoded text; `end` is behind its last byte. */
export interface Run {
  start: number
  end: number
}

const MIN_BASE64 = 16
/** at least MIN_BASE64: they are looked for in such runs only */
const MIN_HEX = 16
const MIN_UTF16 = 16
/** Text round an escape that is decoded with it: a token may begin well before its escaped character. */
const ESCAPE_CONTEXT = 512
/** Of what was compressed: enough for what an agent packs by itself, and no bomb. */
const MAX_INFLATED = 64 * 1024
const INFLATED_PER_BYTE = 4
/** Between decoded pieces, so that no match runs from one into the next. */
const GAP = 2
const LF = 10

/** Decoded bytes of every encoded place, grouped by decoder; empty when nothing looks encoded. */
export function decodeCandidates(bytes: Buffer): Decoded[] {
  const {base64, hex} = findRuns(bytes)
  return [
    base64.length > 0 ? decodeRuns(bytes, base64, 'base64') : undefined,
    hex.length > 0 ? decodeRuns(bytes, hex, 'hex') : undefined,
    decodeEscapes(bytes),
    decodeUtf16(bytes),
    decodeCompressed(bytes),
  ].filter((decoded) => decoded !== undefined)
}

/** Pieces in one buffer whose size is known to suffice. */
class Collector {
  private readonly buffer: Buffer
  private readonly starts: number[] = []
  private readonly places: {offset: number; length: number}[] = []
  private size = 0

  constructor(capacity: number) {
    this.buffer = Buffer.allocUnsafe(capacity)
  }

  /** @param write fills the buffer from an offset and returns the number of bytes */
  add(offset: number, length: number, write: (target: Buffer, at: number) => number): void {
    this.starts.push(this.size)
    this.places.push({offset, length})
    this.size += write(this.buffer, this.size)
    for (let gap = 0; gap < GAP; gap++) this.buffer[this.size++] = LF
  }

  finish(decoder: Decoder): Decoded {
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
    return {decoder, bytes: this.buffer.subarray(0, this.size), origin}
  }
}

const UPPER = 1
const LOWER = 2
const DIGIT = 4
const OTHER = 8
const HEX = 16
const kinds = new Uint8Array(256)
for (let byte = 65; byte <= 90; byte++) kinds[byte] = UPPER | (byte <= 70 ? HEX : 0)
for (let byte = 97; byte <= 122; byte++) kinds[byte] = LOWER | (byte <= 102 ? HEX : 0)
for (let byte = 48; byte <= 57; byte++) kinds[byte] = DIGIT | HEX
for (const byte of Buffer.from('+/-_')) kinds[byte] = OTHER

/** Runs of base64 and of hex characters; a base64 run goes on over a line break, plain or written as `\n`. */
function findRuns(bytes: Buffer): {base64: Run[]; hex: Run[]} {
  const base64: Run[] = []
  const hex: Run[] = []
  const size = bytes.length
  let start = 0
  while (start + MIN_BASE64 <= size) {
    // Looked at from its end: what is no such character there spares the bytes before it.
    let at = start + MIN_BASE64 - 1
    while (at >= start && kinds[bytes[at] ?? 0] !== 0) at--
    if (at >= start) {
      start = at + 1
      continue
    }
    at = start
    let seen = 0
    for (;;) {
      for (; at < size; at++) {
        const kind = kinds[bytes[at] ?? 0] ?? 0
        if (kind === 0) break
        seen |= kind
      }
      const next = afterLineBreak(bytes, at)
      if (next === at || next >= size || kinds[bytes[next] ?? 0] === 0) break
      at = next
    }
    // Encoded text of 12 bytes and more has letters of both cases; words and paths mostly do not.
    if ((seen & UPPER) !== 0 && (seen & LOWER) !== 0) base64.push({start, end: at})
    findHex(bytes, start, at, hex)
    start = at
  }
  return {base64, hex}
}

function findHex(bytes: Buffer, start: number, end: number, hex: Run[]): void {
  let at = start
  while (at < end) {
    while (at < end && ((kinds[bytes[at] ?? 0] ?? 0) & HEX) === 0) at++
    const from = at
    while (at < end && ((kinds[bytes[at] ?? 0] ?? 0) & HEX) !== 0) at++
    if (at - from >= MIN_HEX) hex.push({start: from, end: at})
  }
}

function afterLineBreak(bytes: Buffer, at: number): number {
  if (bytes[at] === 10) return at + 1
  if (bytes[at] === 13 && bytes[at + 1] === 10) return at + 2
  const next = bytes[at] === 92 && bytes[at + 1] === 0x72 ? at + 2 : at
  return bytes[next] === 92 && bytes[next + 1] === 0x6e ? next + 2 : at
}

/** Where the encoded text begins inside a run is unknown: every alignment is decoded. */
function decodeRuns(bytes: Buffer, runs: readonly Run[], decoder: 'base64' | 'hex'): Decoded {
  const alignments = decoder === 'base64' ? 4 : 2
  const decode = decoder === 'base64' ? decodeBase64Run : decodeHexRun
  let capacity = 0
  for (const {start, end} of runs) capacity += alignments * (end - start + GAP)
  const collector = new Collector(capacity)
  for (const {start, end} of runs)
    for (let alignment = 0; alignment < alignments; alignment++)
      collector.add(start, end - start, (target, at) => decode(bytes, start + alignment, end, target, at))
  return collector.finish(decoder)
}

/** Percent escapes, JSON and C escapes of ASCII characters, decoded with the text round them. */
function decodeEscapes(bytes: Buffer): Decoded | undefined {
  const places = escapePlaces(bytes)
  if (places.length === 0) return undefined
  const windows: {start: number; end: number; first: number; last: number}[] = []
  places.forEach(({at}, index) => {
    const end = Math.min(bytes.length, at + ESCAPE_CONTEXT)
    const open = windows.at(-1)
    if (open && at - ESCAPE_CONTEXT <= open.end) {
      open.end = end
      open.last = index
    } else windows.push({start: Math.max(0, at - ESCAPE_CONTEXT), end, first: index, last: index})
  })
  const capacity = windows.reduce((sum, {start, end}) => sum + end - start + GAP, 0)
  const collector = new Collector(capacity)
  for (const {start, end, first, last} of windows) {
    const from = places[first]?.at ?? start
    const length = (places[last]?.at ?? from) - from + 1
    collector.add(from, length, (target, at) => {
      let size = at
      let copied = start
      for (let index = first; index <= last; index++) {
        const place = places[index]
        if (!place) break
        size += bytes.copy(target, size, copied, place.at)
        target[size++] = place.byte
        copied = place.at + place.length
      }
      return size + bytes.copy(target, size, copied, Math.max(copied, end)) - at
    })
  }
  return collector.finish('escape')
}

/** The beginnings of compressed data that nothing but its own header announces. */
function decodeCompressed(bytes: Buffer): Decoded | undefined {
  let left = MAX_INFLATED + bytes.length * INFLATED_PER_BYTE
  const found: {start: number; text: Buffer}[] = []
  for (const {start, data} of compressedPlaces(bytes)) {
    const text = left > 0 ? inflateStart(bytes.subarray(data), left) : Buffer.alloc(0)
    if (text.length === 0) continue
    left -= text.length
    found.push({start, text})
  }
  if (found.length === 0) return undefined
  const collector = new Collector(found.reduce((sum, {text}) => sum + text.length + GAP, 0))
  for (const {start, text} of found)
    collector.add(start, bytes.length - start, (target, at) => text.copy(target, at))
  return collector.finish('deflate')
}

/** Runs of ASCII in UTF-16: printable bytes with a zero behind each, or before each. */
function decodeUtf16(bytes: Buffer): Decoded | undefined {
  const runs: Run[] = []
  let total = 0
  for (let zero = bytes.indexOf(0); zero >= 0;) {
    const start = zero - 1
    let at = start
    while (isPrintable(bytes[at]) && bytes[at + 1] === 0) at += 2
    const letters = (at - start) / 2
    if (letters >= MIN_UTF16 - 1) {
      runs.push({start, end: isPrintable(bytes[at]) ? at + 1 : at})
      total += letters + 1 + GAP
    }
    zero = bytes.indexOf(0, Math.max(zero + 1, at))
  }
  if (runs.length === 0) return undefined
  const collector = new Collector(total)
  for (const {start, end} of runs)
    collector.add(start, end - start, (target, at) => {
      let size = at
      for (let from = start; from < end; from += 2) target[size++] = bytes[from] ?? 0
      return size - at
    })
  return collector.finish('utf16')
}

function isPrintable(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x20 && byte <= 0x7e
}
