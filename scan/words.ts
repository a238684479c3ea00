import {endianness} from 'node:os'

// What searches by words counts on the first byte being the lowest; elsewhere it would find nothing.
if (endianness() !== 'LE') throw new Error('the scanner needs a little-endian processor')

/** The bytes between `head` and the last three or fewer, as words of four bytes, the first byte lowest; no copy. */
export function wordsOf(bytes: Uint8Array): {head: number; words: Int32Array} {
  const head = -bytes.byteOffset & 3
  const count = (bytes.length - head) >> 2
  if (count <= 0) return {head: 0, words: new Int32Array()}
  return {head, words: new Int32Array(bytes.buffer, bytes.byteOffset + head, count)}
}

const GOLDEN = 0x9e3779b1

/** Spreads a word over so many bits; of hashes the upper bits are the good ones. */
export function spread(word: number, bits: number): number {
  return Math.imul(word, GOLDEN) >>> (32 - bits)
}
