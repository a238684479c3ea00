import type {Writable} from 'node:stream'

/** A caller's stream that is written to and never ended. One listener for its whole use, not one per chunk. */
export class Outlet {
  private readonly out: Writable
  private gone = false
  private waiting: (() => void) | undefined

  constructor(out: Writable) {
    this.out = out
    out.on('error', this.onGone)
    out.on('close', this.onGone)
  }

  /**
   * Resolves once the chunk was taken. Answers false when nobody reads any more (EPIPE, closed, destroyed): that is how
   * a pipe into `head` ends, not an error.
   */
  async write(chunk: Buffer): Promise<boolean> {
    if (this.gone || !this.out.writable) return false
    await new Promise<void>((resolve) => {
      this.waiting = resolve
      this.out.write(chunk, (error) => {
        if (error) this.gone = true
        resolve()
      })
    })
    this.waiting = undefined
    return !this.gone
  }

  release(): void {
    this.out.off('close', this.onGone)
    // The error of a failed write comes after its callback.
    setImmediate(() => this.out.off('error', this.onGone))
  }

  private readonly onGone = () => {
    this.gone = true
    this.waiting?.()
  }
}
