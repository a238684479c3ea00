const MAX_KEY = 64 * 1024
const MAX_WORD = 16 * 1024

const begin = Buffer.from('-----BEGIN')
const end = Buffer.from('-----END')

/**
 * The value of which a finding shows a part. A rule stops as soon as it is sure; two keys of one kind can be equal up to
 * there. So the word goes on in both directions, and a private key to the end of its last line.
 */
export function wholeValue(text: Buffer, offset: number, length: number): Buffer {
  let [from, to] = [offset, offset + length]
  if (text.subarray(offset, offset + begin.length).equals(begin)) {
    const footer = text.subarray(0, offset + MAX_KEY).indexOf(end, to)
    to = footer < 0 ? Math.min(text.length, offset + MAX_KEY) : lineEnd(text, footer)
  }
  while (from > 0 && offset - from < MAX_WORD && isWord(text[from - 1])) from--
  while (to < text.length && to - offset < MAX_KEY && (isWord(text[to]) || isTail(text[to]))) to++
  return text.subarray(from, to)
}

/** Behind the dashes of a footer such as `-----END PRIVATE KEY-----`. */
function lineEnd(text: Buffer, footer: number): number {
  const close = text.subarray(0, footer + 100).indexOf('-----', footer + end.length)
  return close < 0 ? Math.min(text.length, footer + 100) : close + 5
}

/** Letters, digits, `-` and `_`. */
function isWord(byte = 0): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x2d ||
    byte === 0x5f
  )
}

/** What base64 and dotted tokens hold besides: `+`, `/`, `=`, `.` */
function isTail(byte = 0): boolean {
  return byte === 0x2b || byte === 0x2f || byte === 0x3d || byte === 0x2e
}
