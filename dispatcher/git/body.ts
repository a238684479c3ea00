import type {IncomingMessage} from 'node:http'
import {createGunzip} from 'node:zlib'
import {FramingError} from '../wire/pkt-line.js'

const MAX_FORGOTTEN = 64 * 1024 * 1024

/** The bytes of a request, unpacked when the client packed them; never more than `limit`, however small they arrive. */
export async function* bodyOf(request: IncomingMessage, limit: number): AsyncGenerator<Buffer, void, void> {
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity' && encoding !== 'gzip' && encoding !== 'x-gzip')
    throw new FramingError('unknown content encoding')
  let stream: AsyncIterable<Buffer> = request.iterator({destroyOnReturn: false})
  if (encoding !== 'identity') {
    const unpacked = createGunzip()
    request.on('error', (error) => unpacked.destroy(error))
    request.on('aborted', () => unpacked.destroy())
    stream = request.pipe(unpacked)
  }
  let bytes = 0
  try {
    for await (const chunk of stream) {
      bytes += chunk.length
      if (bytes > limit) throw new FramingError('the request is larger than it may be')
      yield chunk
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code?.startsWith('Z_') === true)
      throw new FramingError('the request is not what its encoding says')
    throw error
  }
}

export async function bytesOf(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of bodyOf(request, limit)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Reads what is left of a request, as it came; a very long rest is cut off. */
export async function forget(request: IncomingMessage): Promise<void> {
  let bytes = 0
  try {
    for await (const chunk of request.iterator({destroyOnReturn: false}) as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > MAX_FORGOTTEN) request.destroy()
    }
  } catch {
    request.destroy()
  }
}
