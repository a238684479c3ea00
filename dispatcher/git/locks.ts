/** Locks by name, first come first served. */
export class NamedLocks {
  readonly #tails = new Map<string, Promise<void>>()

  /** Holds all names while `work` runs; sorted, so that two holders never wait for each other. */
  async hold<T>(names: Iterable<string>, work: () => Promise<T>): Promise<T> {
    const releases: (() => void)[] = []
    try {
      for (const name of [...new Set(names)].sort()) releases.push(await this.#take(name))
      return await work()
    } finally {
      for (const release of releases) release()
    }
  }

  async #take(name: string): Promise<() => void> {
    const before = this.#tails.get(name) ?? Promise.resolve()
    let open: () => void = () => undefined
    const gate = new Promise<void>((resolve) => (open = resolve))
    const tail = before.then(() => gate)
    this.#tails.set(name, tail)
    await before
    return () => {
      if (this.#tails.get(name) === tail) this.#tails.delete(name)
      open()
    }
  }
}

/** Many users or one owner. The owner only comes when nobody uses, so that long work never queues behind it. */
export class SharedLock {
  #users = 0
  #owner: Promise<void> | undefined

  async share<T>(work: () => Promise<T>): Promise<T> {
    while (this.#owner) await this.#owner
    this.#users++
    try {
      return await work()
    } finally {
      this.#users--
    }
  }

  /** @returns whether the work was done; false = somebody is at it, try later */
  async own(work: () => Promise<void>): Promise<boolean> {
    if (this.#users > 0 || this.#owner) return false
    let open: () => void = () => undefined
    this.#owner = new Promise((resolve) => (open = resolve))
    try {
      await work()
      return true
    } finally {
      this.#owner = undefined
      open()
    }
  }
}

/** At most `size` at once, first come first served. */
export class Places {
  #free: number
  readonly #queue: (() => void)[] = []

  constructor(size: number) {
    this.#free = size
  }

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#queue.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.#queue.shift()
      if (next) next()
      else this.#free++
    }
  }
}
