import type {Writable} from 'node:stream'

/**
 * Writes one chunk and waits until it was taken. Answers false when nobody reads any more (EPIPE, closed, destroyed):
 * that is how a pipe into `head` ends, not an error.
 */
export function pour(out: Writable, chunk: Buffer): Promise<boolean> {
  if (!out.writable) return Promise.resolve(false)
  return new Promise((resolve) => {
    const gone = () => settle(false)
    const settle = (taken: boolean) => {
      out.off('close', gone)
      // An error event may follow the callback: keep one listener until the next turn.
      setImmediate(() => out.off('error', gone))
      resolve(taken)
    }
    out.on('error', gone)
    out.on('close', gone)
    out.write(chunk, (error) => settle(!error))
  })
}
