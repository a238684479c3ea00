/** Reads a byte stream in pieces of a known size or up to a line end; what is left over can be handed on. */
export class ByteReader {
  readonly #source: AsyncIterator<Buffer>
  #held: Buffer = Buffer.alloc(0)
  #ended = false

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** Looks at the next bytes without taking them; fewer come only at the end of the stream. */
  async peek(length: number): Promise<Buffer> {
    if (this.#held.length < length) {
      const chunks = [this.#held]
      let bytes = this.#held.length
      while (bytes < length) {
        const chunk = await this.#pull()
        if (!chunk) break
        chunks.push(chunk)
        bytes += chunk.length
      }
      this.#held = Buffer.concat(chunks)
    }
    return this.#held.subarray(0, length)
  }

  async take(length: number): Promise<Buffer> {
    const bytes = await this.peek(length)
    this.#held = this.#held.subarray(bytes.length)
    return bytes
  }

  /** Fills `target` with the next bytes, whatever pieces they come in. @returns how many; fewer only at the end of the stream */
  async fill(target: Buffer): Promise<number> {
    for (let filled = 0; ;) {
      const copied = this.#held.copy(target, filled)
      this.#held = this.#held.subarray(copied)
      filled += copied
      if (filled === target.length) return filled
      const chunk = await this.#pull()
      if (!chunk) return filled
      this.#held = chunk
    }
  }

  /** Passes over the next bytes. @returns how many there were; fewer only at the end of the stream */
  async skip(length: number): Promise<number> {
    for (let skipped = 0; ;) {
      const part = Math.min(this.#held.length, length - skipped)
      this.#held = this.#held.subarray(part)
      skipped += part
      if (skipped === length) return skipped
      const chunk = await this.#pull()
      if (!chunk) return skipped
      this.#held = chunk
    }
  }

  /** One line without its end, as soon as it is there; undefined at the end of the stream. */
  async line(limit = 64 * 1024): Promise<Buffer | undefined> {
    for (let searched = 0; ;) {
      const end = this.#held.indexOf(0x0a, searched)
      if (end >= 0) return (await this.take(end + 1)).subarray(0, end)
      if (this.#held.length > limit) throw new RangeError(`a line of more than ${limit} bytes`)
      searched = this.#held.length
      const chunk = await this.#pull()
      if (!chunk) return searched === 0 ? undefined : this.take(searched)
      this.#held = searched === 0 ? chunk : Buffer.concat([this.#held, chunk])
    }
  }

  /** Everything not yet taken. */
  async *rest(): AsyncGenerator<Buffer, void, void> {
    if (this.#held.length > 0) {
      const held = this.#held
      this.#held = Buffer.alloc(0)
      yield held
    }
    while (!this.#ended) {
      const chunk = await this.#pull()
      if (chunk) yield chunk
    }
  }

  /** Reads and forgets the rest. @returns false when more than `limit` bytes came */
  async drain(limit: number): Promise<boolean> {
    let bytes = 0
    for await (const chunk of this.rest()) {
      bytes += chunk.length
      if (bytes > limit) return false
    }
    return true
  }

  async #pull(): Promise<Buffer | undefined> {
    if (this.#ended) return undefined
    const next: IteratorResult<Buffer, unknown> = await this.#source.next()
    if (next.done !== true) return next.value
    this.#ended = true
    return undefined
  }
}
