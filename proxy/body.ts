import {setImmediate as turn} from 'node:timers/promises'
import {promisify} from 'node:util'
import {brotliDecompress, gunzip, inflate, inflateRaw} from 'node:zlib'
import {Denial} from './denial.js'
import type {RequestFacts} from './facts.js'

/** Whole bodies up to this size are judged before the first byte leaves. */
const WHOLE_BYTES = 1024 * 1024
const JUDGED_AT_ONCE = 256 * 1024
const MAX_BODY_BYTES = 64 * 1024 * 1024
/** A coded body can only be judged whole. */
const MAX_CODED_BYTES = 8 * 1024 * 1024
const MAX_RATIO = 100
const SMALLEST_CEILING = 64 * 1024

export type Body =
  | {kind: 'none'}
  | {kind: 'whole'; bytes: Buffer}
  | {kind: 'stream'; chunks: AsyncGenerator<Buffer>; length: number | undefined}

/** All throw Denial when the bytes must not leave. */
export interface BodyJudge {
  body(bytes: Buffer): void
  /** gives back what may leave */
  bodyStream(): {push(chunk: Buffer): Buffer; end(): Buffer}
}

/** The part of a request that reading its body needs. */
export interface BodySource {
  readonly complete: boolean
  iterator(options?: {destroyOnReturn?: boolean}): AsyncIterator<Buffer>
  resume(): unknown
}

type Decode = (bytes: Buffer, options: {maxOutputLength: number; info: true}) => Promise<unknown>
/** What zlib gives back with `info`. */
interface Decoded {
  buffer: Buffer
  engine: {bytesWritten: number}
}

const decoders = new Map<string, readonly Decode[]>([
  ['br', [promisify(brotliDecompress)]],
  ['deflate', [promisify(inflate), promisify(inflateRaw)]],
  ['gzip', [promisify(gunzip)]],
  ['x-gzip', [promisify(gunzip)]],
])

/**
 * The request's body, judged: small and coded ones as a whole, large ones slice by slice while they are forwarded.
 * Throws Denial for what must not leave, is too large, or cannot be looked into.
 * @param wholeOnly when somebody has to read or change the body as a whole
 * @param wholeBytes how large it may be then
 */
export async function admitBody(
  request: BodySource,
  facts: RequestFacts,
  judge: BodyJudge,
  wholeOnly = false,
  wholeBytes = WHOLE_BYTES,
): Promise<Body> {
  if (!facts.hasBody) return {kind: 'none'}
  const [coding, ...stacked] = facts.contentEncoding
  const decode = coding === undefined ? undefined : decoders.get(coding)
  if (wholeOnly && coding !== undefined) throw new Denial('body_encoding', {status: 415})
  if (coding !== undefined && (!decode || stacked.length > 0))
    throw new Denial('body_encoding', {status: 415})
  const ceiling = decode ? MAX_CODED_BYTES : MAX_BODY_BYTES
  if ((facts.contentLength ?? 0) > ceiling) throw overLimit()
  const source = request.iterator({destroyOnReturn: false})
  const head = await readUpTo(source, decode ? MAX_CODED_BYTES : wholeOnly ? wholeBytes : WHOLE_BYTES)
  if (!head.ended && (decode || wholeOnly)) throw overLimit()
  if (!head.ended)
    return {
      kind: 'stream',
      chunks: judgedSlices(request, head.bytes, source, judge),
      length: facts.contentLength,
    }
  await judgeWhole(head.bytes, judge)
  if (decode) await judgeDecoded(head.bytes, decode, judge)
  return {kind: 'whole', bytes: head.bytes}
}

/** A large one piece by piece, so that others are served in between. */
async function judgeWhole(bytes: Buffer, judge: BodyJudge): Promise<void> {
  if (bytes.length <= MAX_CODED_BYTES) {
    judge.body(bytes)
    return
  }
  const stream = judge.bodyStream()
  for (let at = 0; at < bytes.length; at += JUDGED_AT_ONCE) {
    stream.push(bytes.subarray(at, at + JUDGED_AT_ONCE))
    await turn()
  }
  stream.end()
}

function overLimit(): Denial {
  return new Denial('body_over_limit', {status: 413})
}

async function readUpTo(
  source: AsyncIterator<Buffer>,
  limit: number,
): Promise<{bytes: Buffer; ended: boolean}> {
  const chunks: Buffer[] = []
  let length = 0
  while (length <= limit) {
    const next = await source.next()
    if (next.done) return {bytes: Buffer.concat(chunks), ended: true}
    chunks.push(next.value)
    length += next.value.length
  }
  return {bytes: Buffer.concat(chunks), ended: false}
}

/** The bytes as they come, for a receiver that judges them itself. */
export async function* untouched(request: BodySource): AsyncGenerator<Buffer> {
  const source = request.iterator({destroyOnReturn: false})
  try {
    for (let next = await source.next(); !next.done; next = await source.next()) yield next.value
  } finally {
    await leave(request, source)
  }
}

/** However reading ends: what still comes is read and thrown away, or the agent would wait forever for its answer. */
export async function leave(request: BodySource, source: AsyncIterator<Buffer>): Promise<void> {
  await source.return?.()
  if (!request.complete) request.resume()
}

async function* judgedSlices(
  request: BodySource,
  head: Buffer,
  source: AsyncIterator<Buffer>,
  judge: BodyJudge,
): AsyncGenerator<Buffer> {
  const stream = judge.bodyStream()
  let total = 0
  try {
    for (let chunk: Buffer | undefined = head; chunk !== undefined;) {
      total += chunk.length
      if (total > MAX_BODY_BYTES) throw overLimit()
      const released = stream.push(chunk)
      if (released.length > 0) yield released
      const next: IteratorResult<Buffer> = await source.next()
      chunk = next.done ? undefined : next.value
    }
    const rest = stream.end()
    if (rest.length > 0) yield rest
  } finally {
    await leave(request, source)
  }
}

/** The most that a body takes up in memory at one time, decoded form included. */
export function heldBytes(
  {hasBody, contentEncoding, contentLength}: RequestFacts,
  wholeBytes = WHOLE_BYTES,
): number {
  if (!hasBody) return 0
  if (contentEncoding.length === 0) return Math.min(contentLength ?? wholeBytes, wholeBytes)
  const coded = Math.min(contentLength ?? MAX_CODED_BYTES, MAX_CODED_BYTES)
  return coded + decodedCeiling(coded)
}

function decodedCeiling(coded: number): number {
  return Math.min(MAX_BODY_BYTES, Math.max(SMALLEST_CEILING, coded * MAX_RATIO))
}

/** A part of a body that says itself how it is coded. Throws Denial. */
export async function judgeCoded(bytes: Buffer, coding: string | undefined, judge: BodyJudge): Promise<void> {
  const decode = coding === undefined ? undefined : decoders.get(coding)
  if (!decode) throw new Denial('body_encoding', {status: 415})
  await judgeDecoded(bytes, decode, judge)
}

async function judgeDecoded(coded: Buffer, decode: readonly Decode[], judge: BodyJudge): Promise<void> {
  if (coded.length === 0) return
  const maxOutputLength = decodedCeiling(coded.length)
  const decoded = await firstThatWorks(decode, coded, maxOutputLength)
  judge.body(decoded)
}

async function firstThatWorks(
  decode: readonly Decode[],
  coded: Buffer,
  maxOutputLength: number,
): Promise<Buffer> {
  for (const attempt of decode) {
    try {
      const {buffer, engine} = (await attempt(coded, {maxOutputLength, info: true})) as Decoded
      // What stands behind the end is read by some and not by others.
      if (engine.bytesWritten === coded.length) return buffer
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw overLimit()
    }
  }
  throw new Denial('body_encoding', {status: 415, detail: 'the body is not what Content-Encoding says'})
}
