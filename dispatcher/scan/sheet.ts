/** bytes of a sheet that goes around: more than the longest piece of an object that is scanned at once */
export const SHEET_BYTES = 1024 * 1024

/**
 * Texts for the scanner, one after the other in memory that goes to a thread and comes back: a large push writes over the
 * same few sheets instead of leaving its size to be collected.
 */
export class Sheet {
  readonly bytes: Uint8Array
  /** where each text ends */
  readonly ends: number[] = []

  /** @param memory of its own, not a part of another buffer: it is handed to a thread */
  constructor(memory: ArrayBuffer) {
    this.bytes = new Uint8Array(memory)
  }

  get length(): number {
    return this.ends.at(-1) ?? 0
  }

  fits(bytes: number): boolean {
    return this.length + bytes <= this.bytes.length
  }

  /** The place of the next text, for the caller to fill; what is in it is of an earlier one. */
  room(bytes: number): Buffer {
    const start = this.length
    if (!this.fits(bytes)) throw new RangeError('the sheet is full')
    this.ends.push(start + bytes)
    return Buffer.from(this.bytes.buffer, start, bytes)
  }
}
