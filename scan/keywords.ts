import {spread, wordsOf} from './words.js'

/** Shorter ones would be found everywhere. */
export const MIN_KEYWORD = 3
const FILTER_BITS = 14
/** Makes letters lower case, and other characters others: a first look may see too much, never too little. */
const FOLD = 0x20202020
const SHORT = 1
const LONGER = 2

/**
 * Finds words, ASCII letters folded. Filters over every three and four bytes, read four at a time, leave few places;
 * from those a dense trie is walked over the bytes that occur in any word.
 */
export class KeywordSearch {
  /** by three bytes: SHORT where a word of three begins so, LONGER where a longer one does */
  private readonly filter = new Uint8Array(1 << FILTER_BITS)
  /** by four bytes */
  private readonly filterOfFour = new Uint8Array(1 << FILTER_BITS)
  private readonly classOf = new Uint8Array(256)
  /** the state behind a state and a class, premultiplied by the number of classes; 0 = none */
  private readonly next: Int32Array
  /** the word that ends in a state, plus one; 0 = none */
  private readonly ending: Int32Array
  private readonly width: number

  /** @param words different ones of at least MIN_KEYWORD characters, ASCII, compared without regard to case; reported by index */
  constructor(words: readonly string[]) {
    const folded = words.map((word) => Buffer.from(word.toLowerCase(), 'latin1'))
    let width = 1
    for (const word of folded) for (const byte of word) this.classOf[byte] ||= width++
    for (let upper = 65; upper <= 90; upper++) this.classOf[upper] = this.classOf[upper + 32] ?? 0
    this.width = width
    const states = 1 + folded.reduce((sum, {length}) => sum + length, 0)
    this.next = new Int32Array(states * width)
    this.ending = new Int32Array(states)

    let last = 0
    folded.forEach((word, index) => {
      if (word.length < MIN_KEYWORD) throw new RangeError(`too short a word: ${word.toString()}`)
      const four = (word.length > MIN_KEYWORD ? word.readInt32LE() : word.readUIntLE(0, MIN_KEYWORD)) | FOLD
      const three = spread(four & 0xffffff, FILTER_BITS)
      this.filter[three] = (this.filter[three] ?? 0) | (word.length > MIN_KEYWORD ? LONGER : SHORT)
      this.filterOfFour[spread(four, FILTER_BITS)] = 1
      let state = 0
      for (const byte of word) {
        const at = state + (this.classOf[byte] ?? 0)
        this.next[at] ||= last += width
        state = this.next[at] ?? 0
      }
      if (this.ending[state / width] !== 0) throw new RangeError(`a word twice: ${word.toString()}`)
      this.ending[state / width] = index + 1
    })
  }

  /** Calls back with the index of a word and the offset of its first byte, in order of the offsets. */
  find(bytes: Uint8Array, onWord: (word: number, at: number) => void): void {
    const {filter} = this
    const {head, words} = wordsOf(bytes)
    for (let at = 0; at < head; at++) this.walk(bytes, at, onWord)
    let word = (words[0] ?? 0) | FOLD
    for (let index = 1; index < words.length; index++) {
      const following = (words[index] ?? 0) | FOLD
      const first = filter[spread(word & 0xffffff, FILTER_BITS)] ?? 0
      const second = filter[spread(word >>> 8, FILTER_BITS)] ?? 0
      const third = filter[spread((word >>> 16) | ((following & 0xff) << 16), FILTER_BITS)] ?? 0
      const fourth = filter[spread((word >>> 24) | ((following & 0xffff) << 8), FILTER_BITS)] ?? 0
      if ((first | second | third | fourth) !== 0) {
        const at = head + 4 * (index - 1)
        if (this.mayBegin(first, word)) this.walk(bytes, at, onWord)
        if (this.mayBegin(second, (word >>> 8) | (following << 24))) this.walk(bytes, at + 1, onWord)
        if (this.mayBegin(third, (word >>> 16) | (following << 16))) this.walk(bytes, at + 2, onWord)
        if (this.mayBegin(fourth, (word >>> 24) | (following << 8))) this.walk(bytes, at + 3, onWord)
      }
      word = following
    }
    // Behind the last word but one the filter would need bytes that are not there.
    for (let at = head + 4 * Math.max(0, words.length - 1); at < bytes.length; at++)
      this.walk(bytes, at, onWord)
  }

  /** @param beginning what the filter says of the first three */
  private mayBegin(beginning: number, four: number): boolean {
    if (beginning !== LONGER) return beginning !== 0
    return this.filterOfFour[spread(four, FILTER_BITS)] === 1
  }

  /** Reports the words that begin here, the shortest first. */
  private walk(bytes: Uint8Array, from: number, onWord: (word: number, at: number) => void): void {
    const {classOf, next, ending, width} = this
    let state = 0
    for (let at = from; at < bytes.length; at++) {
      state = next[state + (classOf[bytes[at] ?? 0] ?? 0)] ?? 0
      if (state === 0) return
      const word = ending[state / width] ?? 0
      if (word !== 0) onWord(word - 1, from)
    }
  }
}
