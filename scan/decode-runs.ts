/** Below this length a loop is faster than crossing into native code. */
const SHORT = 192
const NONE = 255

const base64Values = new Uint8Array(256).fill(NONE)
Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/').forEach((byte, value) => {
  base64Values[byte] = value
})
base64Values[45] = 62
base64Values[95] = 63

const hexValues = new Uint8Array(256).fill(NONE)
Buffer.from('0123456789abcdef').forEach((byte, value) => {
  hexValues[byte] = value
})
Buffer.from('ABCDEF').forEach((byte, index) => {
  hexValues[byte] = 10 + index
})

/** Decodes bytes[from, end) into `target` at `at`, either alphabet, over line breaks; returns the number of bytes. */
export function decodeBase64Run(
  bytes: Buffer,
  from: number,
  end: number,
  target: Buffer,
  at: number,
): number {
  if (end - from >= SHORT) {
    const text = bytes.toString('latin1', from, end)
    return target.write(/[\r\n\\]/.test(text) ? text.replace(/\r?\n|(?:\\r)?\\n/g, '') : text, at, 'base64')
  }
  let size = at
  let bits = 0
  let value = 0
  for (let index = from; index < end; index++) {
    const byte = bytes[index] ?? 0
    // The letter behind a backslash belongs to a written line break.
    if (byte === 92) {
      index++
      continue
    }
    const digit = base64Values[byte] ?? NONE
    if (digit === NONE) continue
    value = ((value << 6) | digit) & 0xffff
    bits += 6
    if (bits >= 8) {
      bits -= 8
      target[size++] = (value >> bits) & 255
    }
  }
  return size - at
}

/** Decodes pairs of hex digits in bytes[from, end); returns the number of bytes. */
export function decodeHexRun(bytes: Buffer, from: number, end: number, target: Buffer, at: number): number {
  let size = at
  for (let index = from; index + 1 < end; index += 2)
    target[size++] = ((hexValues[bytes[index] ?? 0] ?? 0) << 4) | (hexValues[bytes[index + 1] ?? 0] ?? 0)
  return size - at
}
