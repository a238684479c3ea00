import {Denial} from './denial.js'

const WAIT_MS = 30_000

interface Waiting {
  bytes: number
  admit: () => void
}

/** Memory for bodies that are held while they are judged: one budget for all requests, first come, first served. */
export class HeldBytes {
  readonly #most: number
  readonly #waitMs: number
  readonly #queue: Waiting[] = []
  #held = 0

  constructor(most: number, waitMs = WAIT_MS) {
    this.#most = most
    this.#waitMs = waitMs
  }

  /** Resolves with how to give it back, when there is room. Throws Denial `busy` when that takes too long. */
  async take(bytes: number): Promise<() => void> {
    const wanted = Math.min(bytes, this.#most)
    if (this.#queue.length > 0 || this.#held + wanted > this.#most) await this.#wait(wanted)
    else this.#held += wanted
    let given = false
    return () => {
      if (given) return
      given = true
      this.#held -= wanted
      this.#admitNext()
    }
  }

  #wait(bytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry = {
        bytes,
        admit: () => {
          clearTimeout(timer)
          this.#held += bytes
          resolve()
        },
      }
      const timer = setTimeout(() => {
        this.#queue.splice(this.#queue.indexOf(entry), 1)
        reject(
          new Denial('busy', {
            status: 503,
            failed: true,
            hint: 'Too many large requests at once. Try again.',
          }),
        )
        this.#admitNext()
      }, this.#waitMs)
      this.#queue.push(entry)
    })
  }

  #admitNext(): void {
    for (let next = this.#queue[0]; next && this.#held + next.bytes <= this.#most; next = this.#queue[0]) {
      this.#queue.shift()
      next.admit()
    }
  }
}
