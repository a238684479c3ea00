import {readFile} from 'node:fs/promises'
import {writeDurably} from '../../core/durable-file.js'
import {knownName} from '../socket-api.js'

/** Which repositories are forks, and of what: what the one they come from has already is nothing new in them. */
export class Forks {
  readonly #path: string
  #origins: ReadonlyMap<string, string> = new Map()

  constructor(path: string) {
    this.#path = path
  }

  async load(): Promise<void> {
    try {
      this.#origins = new Map(
        Object.entries(JSON.parse(await readFile(this.#path, 'utf8')) as Record<string, string>),
      )
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  /** @param fork name of a repository @param of name of the one that it was forked from */
  async put(fork: string, of: string): Promise<void> {
    const [name, origin] = [knownName(fork), knownName(of)]
    if (name === undefined || origin === undefined || name === origin)
      throw new Error('not the names of a fork and its origin')
    if (this.#origins.get(name) === origin) return
    const origins = new Map([...this.#origins, [name, origin]])
    await writeDurably(this.#path, JSON.stringify(Object.fromEntries(origins)))
    this.#origins = origins
  }

  originOf(fork: string): string | undefined {
    return this.#origins.get(fork)
  }
}
