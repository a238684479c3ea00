/**
 * Aho-Corasick over bytes, ASCII letters folded, as one dense table over the bytes that occur in any word.
 * States are stored premultiplied by the alphabet's size; a negative entry is the complement of an accepting state.
 */
export class Automaton {
  private readonly classOf = new Uint8Array(256)
  private readonly table: Int32Array
  private readonly outputs: readonly (readonly number[])[]
  private readonly width: number

  /** @param words ASCII, compared without regard to case; reported by index */
  constructor(words: readonly string[]) {
    const folded = words.map((word) => word.toLowerCase())
    let width = 1
    for (const word of folded) for (const byte of Buffer.from(word, 'latin1')) this.classOf[byte] ||= width++
    for (let upper = 65; upper <= 90; upper++) this.classOf[upper] = this.classOf[upper + 32] ?? 0
    this.width = width

    const rows: Int32Array[] = [new Int32Array(width).fill(-1)]
    const outputs: number[][] = [[]]
    folded.forEach((word, index) => {
      let state = 0
      for (const byte of Buffer.from(word, 'latin1')) {
        const row = rows[state] ?? new Int32Array()
        const column = this.classOf[byte] ?? 0
        if ((row[column] ?? -1) < 0) {
          row[column] = rows.length
          rows.push(new Int32Array(width).fill(-1))
          outputs.push([])
        }
        state = row[column] ?? 0
      }
      outputs[state]?.push(index)
    })
    this.table = complete(rows, outputs, width)
    this.outputs = outputs
  }

  /** Calls back with the index of a word and the offset of its last byte, in order of the offsets. */
  find(bytes: Uint8Array, onWord: (word: number, last: number) => void): void {
    const {classOf, table, outputs, width} = this
    let state = 0
    for (let at = 0; at < bytes.length; at++) {
      state = table[state + (classOf[bytes[at] ?? 0] ?? 0)] ?? 0
      if (state < 0) {
        state = ~state
        const words = outputs[state / width] ?? []
        for (const word of words) onWord(word, at)
      }
    }
  }
}

/** Fills in the failure transitions, breadth first, and marks accepting states. */
function complete(rows: readonly Int32Array[], outputs: number[][], width: number): Int32Array {
  const failure = new Int32Array(rows.length)
  const queue: number[] = []
  const root = rows[0] ?? new Int32Array()
  for (let column = 0; column < width; column++) {
    const next = root[column] ?? -1
    if (next < 0) root[column] = 0
    else queue.push(next)
  }
  // The queue grows while it is walked: breadth first.
  for (const state of queue) {
    const row = rows[state] ?? root
    const fallback = failure[state] ?? 0
    outputs[state]?.push(...(outputs[fallback] ?? []))
    for (let column = 0; column < width; column++) {
      const next = row[column] ?? -1
      const other = rows[fallback]?.[column] ?? 0
      if (next < 0) row[column] = other
      else {
        failure[next] = other
        queue.push(next)
      }
    }
  }
  const table = new Int32Array(rows.length * width)
  rows.forEach((row, state) => {
    for (let column = 0; column < width; column++) {
      const next = row[column] ?? 0
      table[state * width + column] = (outputs[next]?.length ?? 0) > 0 ? ~(next * width) : next * width
    }
  })
  return table
}
