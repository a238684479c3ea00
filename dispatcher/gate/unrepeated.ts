import {Transform} from 'node:stream'
import {CageError} from '../../core/errors.js'

/** what is shorter comes along by chance */
const SHORTEST = 8

/**
 * Passes bytes on until one of the texts would appear among them: an upstream may repeat what it was shown. The end of a
 * piece waits for the next one only where a text could begin there. Errors: UPSTREAM_ANSWER
 */
export function unrepeated(texts: readonly string[]): Transform {
  const wanted = texts.filter((text) => text.length >= SHORTEST).map((text) => Buffer.from(text, 'latin1'))
  let held: Buffer = Buffer.alloc(0)
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk])
      if (wanted.some((text) => bytes.includes(text))) {
        done(new CageError('the answer of the upstream was not fit to show', {code: 'UPSTREAM_ANSWER'}))
        return
      }
      const kept = Math.max(0, ...wanted.map((text) => beginningAtEnd(bytes, text)))
      held = bytes.subarray(bytes.length - kept)
      done(null, bytes.subarray(0, bytes.length - kept))
    },
    flush(done) {
      done(null, held)
    },
  })
}

/** How many of the last bytes are the first ones of the text. */
function beginningAtEnd(bytes: Buffer, text: Buffer): number {
  for (let length = Math.min(bytes.length, text.length - 1); length > 0; length--)
    if (bytes.compare(text, 0, length, bytes.length - length) === 0) return length
  return 0
}

/** What an Authorization header shows: its credential, and the password within. */
export function shownBy(authorization: string | undefined): string[] {
  const [scheme = '', value = ''] = authorization?.split(' ') ?? []
  if (!/^basic$/i.test(scheme)) return [value]
  const decoded = Buffer.from(value, 'base64').toString('latin1')
  return [value, decoded.slice(decoded.indexOf(':') + 1)]
}
