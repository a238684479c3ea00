/** What became of one byte. */
export type Utf8Step =
  | {kind: 'more'}
  /** a whole character, and its bytes */
  | {kind: 'character'; codePoint: number; bytes: number[]}
  /** what was collected is not UTF-8; `again` = the byte itself has not been used */
  | {kind: 'invalid'; again: boolean; first: number}

/** Strict UTF-8 by the table of RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
export class Utf8Collector {
  private bytes: number[] = []
  private needed = 0
  private low = 0x80
  private high = 0xbf

  get pending(): boolean {
    return this.bytes.length > 0
  }

  push(byte: number): Utf8Step {
    return this.pending ? this.continuation(byte) : this.lead(byte)
  }

  /** Drops an unfinished character. */
  clear(): void {
    this.bytes = []
  }

  private lead(byte: number): Utf8Step {
    const length =
      byte >= 0xc2 && byte <= 0xdf
        ? 2
        : byte >= 0xe0 && byte <= 0xef
          ? 3
          : byte >= 0xf0 && byte <= 0xf4
            ? 4
            : 0
    if (length === 0) return {kind: 'invalid', again: false, first: byte}
    this.needed = length
    this.low = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80
    this.high = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf
    this.bytes = [byte]
    return {kind: 'more'}
  }

  private continuation(byte: number): Utf8Step {
    if (byte < this.low || byte > this.high) {
      const first = this.bytes[0] ?? 0
      this.bytes = []
      return {kind: 'invalid', again: true, first}
    }
    this.low = 0x80
    this.high = 0xbf
    this.bytes.push(byte)
    if (this.bytes.length < this.needed) return {kind: 'more'}
    const bytes = this.bytes
    this.bytes = []
    const [first = 0, ...rest] = bytes
    const initial = first & (0x7f >> this.needed)
    return {
      kind: 'character',
      bytes,
      codePoint: rest.reduce((sum, next) => (sum << 6) | (next & 0x3f), initial),
    }
  }
}
