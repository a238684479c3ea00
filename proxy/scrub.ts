import {Transform, type TransformCallback} from 'node:stream'
import type {Enforcement} from './enforcement.js'
import {secretsIn} from './sigv4.js'

interface Replacement {
  find: Buffer
  put: Buffer
}

/**
 * Writes placeholders back where a response repeats a real value. Bytes are held only while they could be the start
 * of one, so events of a stream are not delayed.
 */
export class Scrubber {
  readonly #replacements: readonly Replacement[]
  #held = Buffer.alloc(0)

  constructor(replacements: readonly Replacement[]) {
    this.#replacements = replacements
  }

  push(chunk: Buffer): Buffer {
    const bytes = replaceAll(
      this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]),
      this.#replacements,
    )
    const keep = Math.max(0, ...this.#replacements.map(({find}) => startLength(bytes, find)))
    this.#held = Buffer.from(bytes.subarray(bytes.length - keep))
    return bytes.subarray(0, bytes.length - keep)
  }

  end(): Buffer {
    const rest = this.#held
    this.#held = Buffer.alloc(0)
    return rest
  }
}

export class ScrubStream extends Transform {
  readonly #scrubber: Scrubber

  constructor(replacements: readonly Replacement[]) {
    super()
    this.#scrubber = new Scrubber(replacements)
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    done(null, this.#scrubber.push(chunk))
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#scrubber.end())
  }
}

/** What must not be read in a response of this host: undefined for hosts without a credential. */
export function replacementsFor(host: string, enforcement: Enforcement): readonly Replacement[] | undefined {
  const bindings = enforcement.grant.credentials.filter((binding) => binding.host === host)
  if (bindings.length === 0) return undefined
  return bindings.flatMap((binding) => {
    const value = enforcement.valueOf(binding.name)
    if (value === undefined) return []
    return secretsIn(binding, value).flatMap((secret) => replacements(secret, binding.placeholder))
  })
}

export function scrubText(text: string, replacements: readonly Replacement[]): string {
  return replaceAll(Buffer.from(text, 'latin1'), replacements).toString('latin1')
}

/** The value itself becomes the placeholder, its usual encodings asterisks of the same length. */
function replacements(value: string, placeholder: string): Replacement[] {
  const bytes = Buffer.from(value, 'latin1')
  const hex = bytes.toString('hex')
  const encoded = [
    encodeURIComponent(value),
    JSON.stringify(value).slice(1, -1),
    JSON.stringify(value).slice(1, -1).replaceAll('/', '\\/'),
    hex,
    hex.toUpperCase(),
    ...base64Forms(bytes),
  ]
  const others = [...new Set(encoded)].filter((text) => text !== value)
  return [
    {find: bytes, put: Buffer.from(placeholder, 'latin1')},
    ...others.map((text) => ({find: Buffer.from(text, 'latin1'), put: Buffer.alloc(text.length, '*')})),
  ]
}

/** What a value looks like inside base64 at each of the three alignments, without the characters its neighbours share. */
export function base64Forms(bytes: Buffer): string[] {
  const forms = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    const start = Math.ceil((shift * 8) / 6)
    const end = Math.floor(((shift + bytes.length) * 8) / 6)
    return text.slice(start, end)
  })
  return [...forms, ...forms.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'))]
}

function replaceAll(bytes: Buffer, replacements: readonly Replacement[]): Buffer {
  let result = bytes
  for (const {find, put} of replacements) {
    const parts: Buffer[] = []
    let from = 0
    for (let at = result.indexOf(find); at >= 0; at = result.indexOf(find, from)) {
      parts.push(result.subarray(from, at), put)
      from = at + find.length
    }
    if (parts.length > 0) result = Buffer.concat([...parts, result.subarray(from)])
  }
  return result
}

/** How many bytes at the end could be the start of the wanted text. */
function startLength(bytes: Buffer, wanted: Buffer): number {
  const first = wanted[0] ?? 0
  const longest = Math.min(wanted.length - 1, bytes.length)
  for (
    let at = bytes.indexOf(first, bytes.length - longest);
    at >= 0 && longest > 0;
    at = bytes.indexOf(first, at + 1)
  ) {
    const length = bytes.length - at
    if (bytes.compare(wanted, 0, length, at) === 0) return length
  }
  return 0
}
