import {spread, wordsOf} from './words.js'

/** Shorter ones would be found everywhere. */
export const MIN_KEYWORD = 3
const FILTER_BITS = 16
/** Words that begin alike share a group: what its words hold, one place after another, is looked at by itself. */
const GROUPS = 8
/** Bits of a pair of bytes: the first and second of a word, any byte and the first, the third and fourth, the second and third. */
const BEGINS = 0
const BEGINS_LATE = GROUPS
const GOES_ON = 2 * GROUPS
const GOES_ON_LATE = 3 * GROUPS
const GROUP_MASK = (1 << GROUPS) - 1
const anyByte = Array.from({length: 256}, (_, byte) => byte)

/**
 * Finds words, ASCII letters folded. Every two bytes are looked up once, and what two such pairs in a row say of each group
 * of words leaves few places; from those, behind a filter over four bytes, a dense trie is walked.
 */
export class KeywordSearch {
  /** by two bytes, the first lowest: of which groups they may be a part, and where */
  private readonly pairs = new Int32Array(1 << 16)
  /** by the first four bytes, spread */
  private readonly fours = new Uint8Array(1 << FILTER_BITS)
  /** column of a byte in `next`; 0 = in no word */
  private readonly columnOf = new Uint8Array(256)
  /** the state behind a state and a column, premultiplied by the number of columns; in column 0 the word that ends there, plus one */
  private readonly next: Int32Array

  /**
   * @param words different ones, whatever their capitals, of at least MIN_KEYWORD characters, ASCII; reported by index
   * @param exact those of them that are wanted in their own capitals only; they may be reported in others all the same
   */
  constructor(words: readonly string[], exact: ReadonlySet<string> = new Set()) {
    const folded = words.map((word) => Buffer.from(word.toLowerCase(), 'latin1'))
    let width = 1
    for (const word of folded) for (const byte of word) this.columnOf[byte] ||= width++
    for (let upper = 65; upper <= 90; upper++) this.columnOf[upper] = this.columnOf[upper + 32] ?? 0
    this.next = new Int32Array((1 + folded.reduce((sum, {length}) => sum + length, 0)) * width)
    let last = 0
    folded.forEach((word, index) => {
      if (word.length < MIN_KEYWORD) throw new RangeError(`too short a word: ${word.toString()}`)
      let state = 0
      for (const byte of word) {
        const at = state + (this.columnOf[byte] ?? 0)
        this.next[at] ||= last += width
        state = this.next[at] ?? 0
      }
      if (this.next[state] !== 0) throw new RangeError(`a word twice: ${word.toString()}`)
      this.next[state] = index + 1
    })
    const groupOf = groupsOf(folded)
    words.forEach((word, index) => this.admit(word, exact.has(word), groupOf(index)))
  }

  /** Lets a word through both filters. */
  private admit(text: string, exact: boolean, group: number): void {
    const [first = [], second = [], third = [], fourth = []] = Array.from({length: 4}, (_, at) =>
      at < text.length ? writingsOf(text.charAt(at), exact) : anyByte,
    )
    const mark = (low: readonly number[], high: readonly number[], place: number) => {
      for (const one of low)
        for (const other of high) {
          const pair = one | (other << 8)
          this.pairs[pair] = (this.pairs[pair] ?? 0) | (1 << (place + group))
        }
    }
    mark(first, second, BEGINS)
    mark(third, fourth, GOES_ON)
    mark(anyByte, first, BEGINS_LATE)
    mark(second, third, GOES_ON_LATE)
    for (const one of first)
      for (const two of second)
        for (const three of third)
          for (const four of fourth)
            this.fours[spread(one | (two << 8) | (three << 16) | (four << 24), FILTER_BITS)] = 1
  }

  /** Calls back with the index of a word and the offset of its first byte, in order of the offsets. */
  find(bytes: Uint8Array, onWord: (word: number, at: number) => void): void {
    const {pairs} = this
    const {head, words} = wordsOf(bytes)
    for (let at = 0; at < head; at++) this.walk(bytes, at, onWord)
    let word = words[0] ?? 0
    let low = pairs[word & 0xffff] ?? 0
    for (let index = 1; index < words.length; index++) {
      const following = words[index] ?? 0
      const high = pairs[word >>> 16] ?? 0
      const next = pairs[following & 0xffff] ?? 0
      const begun = (low & (high >>> GOES_ON)) | ((high & (next >>> GOES_ON)) << 16)
      if (begun !== 0) {
        const at = head + 4 * (index - 1)
        if ((begun & GROUP_MASK) !== 0) this.look(bytes, at, word, onWord)
        if ((begun & (GROUP_MASK << 8)) !== 0)
          this.look(bytes, at + 1, (word >>> 8) | (following << 24), onWord)
        if ((begun & (GROUP_MASK << 16)) !== 0)
          this.look(bytes, at + 2, (word >>> 16) | (following << 16), onWord)
        if ((begun & (GROUP_MASK << 24)) !== 0)
          this.look(bytes, at + 3, (word >>> 24) | (following << 8), onWord)
      }
      word = following
      low = next
    }
    // Behind the last word but one the pairs would need bytes that are not there.
    for (let at = head + 4 * Math.max(0, words.length - 1); at < bytes.length; at++)
      this.walk(bytes, at, onWord)
  }

  private look(
    bytes: Uint8Array,
    at: number,
    four: number,
    onWord: (word: number, at: number) => void,
  ): void {
    if (this.fours[spread(four, FILTER_BITS)] === 1) this.walk(bytes, at, onWord)
  }

  /** Reports the words that begin here, the shortest first. */
  private walk(bytes: Uint8Array, from: number, onWord: (word: number, at: number) => void): void {
    const {columnOf, next} = this
    let state = 0
    for (let at = from; at < bytes.length; at++) {
      const column = columnOf[bytes[at] ?? 0] ?? 0
      if (column === 0) return
      state = next[state + column] ?? 0
      if (state === 0) return
      const word = next[state] ?? 0
      if (word !== 0) onWord(word - 1, from)
    }
  }
}

/** The bytes that a character may stand as. */
function writingsOf(character: string, exact: boolean): number[] {
  if (exact) return [character.charCodeAt(0)]
  return [...new Set([character.toLowerCase(), character.toUpperCase()])].map((one) => one.charCodeAt(0))
}

/** Words by their first character, as many in each group as goes. */
function groupsOf(words: readonly Buffer[]): (index: number) => number {
  const counts = new Map<number, number>()
  for (const [first = 0] of words) counts.set(first, (counts.get(first) ?? 0) + 1)
  const sizes = Array.from({length: GROUPS}, () => 0)
  const groups = new Map<number, number>()
  for (const [first, count] of [...counts].sort(([, one], [, other]) => other - one)) {
    const group = sizes.indexOf(Math.min(...sizes))
    sizes[group] = (sizes[group] ?? 0) + count
    groups.set(first, group)
  }
  return (index) => groups.get(words[index]?.[0] ?? 0) ?? 0
}
