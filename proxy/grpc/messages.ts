import type {BodyJudge, BodySource} from '../body.js'
import {judgeCoded, leave} from '../body.js'
import {Denial} from '../denial.js'
import type {RequestFacts} from '../facts.js'
import type {HeldBytes} from '../held.js'

const PREFIX_BYTES = 5
/** What gRPC servers take by default. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024

/** Whether the body is a stream of messages, each of which the other side may answer before the next. */
export function isGrpc({
  http2,
  contentType,
  contentEncoding,
}: Pick<RequestFacts, 'http2' | 'contentType' | 'contentEncoding'>): boolean {
  // A body that is coded as a whole has no messages that anybody could see.
  return http2 && contentEncoding.length === 0 && /^application\/grpc(\+|$)/.test(contentType ?? '')
}

/**
 * The body's messages, each judged whole, decoded where it is compressed, and only then given on with its prefix: one
 * byte of flags, four of length. Throws Denial for what must not leave or is no message.
 */
export async function* judgedMessages(
  request: BodySource,
  facts: RequestFacts,
  judge: BodyJudge,
  held: HeldBytes,
): AsyncGenerator<Buffer> {
  const coding = facts.headers.find(([name]) => name === 'grpc-encoding')?.[1].toLowerCase()
  const source = request.iterator({destroyOnReturn: false})
  const bytes = new Bytes(source)
  try {
    for (;;) {
      const prefix = await bytes.take(PREFIX_BYTES)
      if (prefix.length === 0) return
      if (prefix.length < PREFIX_BYTES) throw malformed()
      const flags = prefix.readUInt8(0)
      const length = prefix.readUInt32BE(1)
      if (length > MAX_MESSAGE_BYTES) throw new Denial('body_over_limit', {status: 413})
      const giveBack = await held.take(length)
      try {
        const message = await bytes.take(length)
        if (message.length < length || flags > 1) throw malformed()
        if (flags === 1) await judgeCoded(message, coding, judge)
        judge.body(message)
        yield Buffer.concat([prefix, message])
      } finally {
        giveBack()
      }
    }
  } finally {
    await leave(request, source)
  }
}

function malformed(): Denial {
  return new Denial('grpc_malformed', {status: 400})
}

/** A source of chunks, read by length. */
class Bytes {
  readonly #source: AsyncIterator<Buffer>
  #chunks: Buffer[] = []
  #length = 0

  constructor(source: AsyncIterator<Buffer>) {
    this.#source = source
  }

  /** Fewer only at the end. */
  async take(length: number): Promise<Buffer> {
    while (this.#length < length) {
      const next = await this.#source.next()
      if (next.done) break
      this.#chunks.push(next.value)
      this.#length += next.value.length
    }
    const [first] = this.#chunks
    const all = first && this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks)
    const taken = all.subarray(0, length)
    this.#chunks = all.length > length ? [all.subarray(length)] : []
    this.#length = all.length - taken.length
    return taken
  }
}
