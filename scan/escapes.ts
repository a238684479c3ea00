/** Where a printable ASCII character is written as an escape. */
export interface EscapePlace {
  at: number
  length: number
  byte: number
}

const PERCENT = 37
const SLASH = 47
const BACKSLASH = 92
const U = 0x75
const X = 0x78
const ZERO = 48

/** `%41`, `\u0041`, `\u{41}`, `\x41` and `\/`, in order. Bytes of other characters belong to no token. */
export function escapePlaces(bytes: Buffer): EscapePlace[] {
  const places: EscapePlace[] = []
  let percent = bytes.indexOf(PERCENT)
  let backslash = bytes.indexOf(BACKSLASH)
  while (percent >= 0 || backslash >= 0) {
    const isPercent = percent >= 0 && (backslash < 0 || percent < backslash)
    const at = isPercent ? percent : backslash
    const place = isPercent ? hexAt(bytes, at, 1) : backslashAt(bytes, at)
    const fits = place !== undefined && place.byte >= 0x20 && place.byte <= 0x7e
    if (fits) places.push(place)
    const next = at + (fits ? place.length : 1)
    if (percent >= 0 && percent < next) percent = bytes.indexOf(PERCENT, next)
    if (backslash >= 0 && backslash < next) backslash = bytes.indexOf(BACKSLASH, next)
  }
  return places
}

function backslashAt(bytes: Buffer, at: number): EscapePlace | undefined {
  switch (bytes[at + 1]) {
    case SLASH:
      return {at, length: 2, byte: SLASH}
    case X:
      return hexAt(bytes, at, 2)
    case U:
      if (bytes[at + 2] === ZERO && bytes[at + 3] === ZERO) return hexAt(bytes, at, 4)
      return bytes[at + 2] === 0x7b ? braceAt(bytes, at) : undefined
    default:
      return undefined
  }
}

/** Two hex digits so many bytes behind `at`. */
function hexAt(bytes: Buffer, at: number, skip: number): EscapePlace | undefined {
  const high = digit(bytes[at + skip])
  const low = digit(bytes[at + skip + 1])
  return high < 0 || low < 0 ? undefined : {at, length: skip + 2, byte: high * 16 + low}
}

/** `\u{000041}` */
function braceAt(bytes: Buffer, at: number): EscapePlace | undefined {
  let value = 0
  for (let end = at + 3; end < at + 10; end++) {
    if (bytes[end] === 0x7d && end > at + 3) return {at, length: end - at + 1, byte: value}
    const next = digit(bytes[end])
    if (next < 0) return undefined
    value = value * 16 + next
  }
  return undefined
}

function digit(byte = 0): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const folded = byte | 0x20
  return folded >= 97 && folded <= 102 ? folded - 87 : -1
}
