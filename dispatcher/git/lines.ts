import type {Readable, Writable} from 'node:stream'

const MAX_LINE = 64 * 1024

/** Records of a stream that end with `separator`; a longer one than git can write is an error. */
export async function* recordsOf(
  stream: Readable,
  separator: '\n' | '\0' = '\n',
): AsyncGenerator<Buffer, void, void> {
  const end = separator.charCodeAt(0)
  let held: Buffer = Buffer.alloc(0)
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    let start = 0
    for (let at = held.indexOf(end); at >= 0; at = held.indexOf(end, start)) {
      yield held.subarray(start, at)
      start = at + 1
    }
    held = held.subarray(start)
    if (held.length > MAX_LINE) throw new Error(`a record of more than ${MAX_LINE} bytes`)
  }
  if (held.length > 0) yield held
}

/** Writes and waits while the reader is behind; returns when the reader has gone, whose exit code tells why. */
export async function write(stream: Writable, bytes: string | Buffer): Promise<void> {
  if (stream.destroyed || stream.writableEnded || stream.write(bytes)) return
  await new Promise<void>((resolve) => {
    const settle = () => {
      stream.off('drain', settle).off('close', settle).off('error', settle)
      resolve()
    }
    stream.once('drain', settle).once('close', settle).once('error', settle)
  })
}
