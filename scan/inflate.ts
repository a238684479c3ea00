import {constants, inflateRawSync} from 'node:zlib'

/** Compressed data behind a header that says so. */
export interface Compressed {
  /** of the header */
  start: number
  data: number
}

/** What looks like a header is cheap to invent. */
const MAX_PLACES = 8
const GZIP = Buffer.from([0x1f, 0x8b, 8])
const GZIP_HEADER = 10
const flag = {check: 2, extra: 4, name: 8, comment: 16} as const
/** Second bytes of a zlib header that begins with `x`: fastest, default and best compression. */
const ZLIB_LEVELS = [0x01, 0x9c, 0xda] as const
const ZLIB_FIRST = 0x78

/** Headers of gzip (RFC 1952) and zlib (RFC 1950), wherever they stand. */
export function compressedPlaces(bytes: Buffer): Compressed[] {
  const places: Compressed[] = []
  for (let at = bytes.indexOf(GZIP); at >= 0; at = bytes.indexOf(GZIP, at + 1)) {
    const data = behindGzipHeader(bytes, at)
    if (data !== undefined && mayBeDeflated(bytes, data)) places.push({start: at, data})
    if (places.length >= MAX_PLACES) break
  }
  for (const level of ZLIB_LEVELS) {
    let found = 0
    for (let at = bytes.indexOf(level, 1); at >= 0 && found < MAX_PLACES; at = bytes.indexOf(level, at + 1)) {
      if (bytes[at - 1] !== ZLIB_FIRST || !mayBeDeflated(bytes, at + 1)) continue
      places.push({start: at - 1, data: at + 1})
      found++
    }
  }
  return places
}

function behindGzipHeader(bytes: Buffer, start: number): number | undefined {
  const flags = bytes[start + 3] ?? 0
  let at = start + GZIP_HEADER
  if (flags & flag.extra) at += 2 + (bytes[at] ?? 0) + 256 * (bytes[at + 1] ?? 0)
  for (const text of [flag.name, flag.comment]) {
    if (!(flags & text)) continue
    const end = bytes.indexOf(0, at)
    if (end < 0) return undefined
    at = end + 1
  }
  if (flags & flag.check) at += 2
  return at < bytes.length ? at : undefined
}

/** What the first block says of itself (RFC 1951, 3.2.3 to 3.2.7): most bytes that follow by chance say nonsense. */
function mayBeDeflated(bytes: Buffer, at: number): boolean {
  const first = bytes[at] ?? 0
  const type = (first >> 1) & 3
  if (type === 0)
    return bytes.length < at + 5 || (bytes.readUInt16LE(at + 1) ^ bytes.readUInt16LE(at + 3)) === 0xffff
  if (type !== 2 || bytes.length < at + 10) return type !== 3
  const bits = (from: number, count: number) =>
    (((bytes[at + (from >> 3)] ?? 0) | ((bytes[at + (from >> 3) + 1] ?? 0) << 8)) >> (from & 7)) &
    ((1 << count) - 1)
  if (bits(3, 5) > 29 || bits(8, 5) > 29) return false
  // A code is complete when its lengths share out exactly what there is.
  let shared = 0
  for (let code = 0; code < bits(13, 4) + 4; code++) {
    const length = bits(17 + 3 * code, 3)
    if (length > 0) shared += 128 >> length
  }
  return shared === 128
}

/** The beginning of what was compressed, at most so many bytes; empty when it is no deflated data (RFC 1951). */
export function inflateStart(data: Buffer, most: number): Buffer {
  for (let end = data.length; end > 0; end >>= 1) {
    try {
      return inflateRawSync(data.subarray(0, end), {
        maxOutputLength: most,
        finishFlush: constants.Z_SYNC_FLUSH,
      })
    } catch (error) {
      // Half as much to read until it is not too much to hold.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') break
    }
  }
  return Buffer.alloc(0)
}
