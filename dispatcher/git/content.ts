import type {Readable} from 'node:stream'
import type {Finding} from '../scan/messages.js'
import {ScanFailed, type ScanPool} from '../scan/pool.js'
import {ByteReader} from '../wire/byte-reader.js'
import {hexLength, type ObjectFormat} from '../wire/receive-request.js'
import {PushRefused} from './problem.js'

const BATCH_BYTES = 1024 * 1024
const BATCH_TEXTS = 512
const BATCHES_AT_ONCE = 3
const MAX_FOUND = 200

export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag'

export interface Found extends Finding {
  type: ObjectType
  object: string
  /** of a blob: the first path under which it appears; of a tree: the folder */
  path: string
}

/** Reads objects as `git cat-file --batch` writes them and has each scanned, a few batches ahead. */
export class ContentScan {
  readonly found: Found[] = []
  /** objects that went through */
  count = 0
  readonly #pool: ScanPool
  readonly #format: ObjectFormat
  readonly #running = new Set<Promise<void>>()
  #failure: unknown
  #batch: {text: Buffer; type: ObjectType; object: string; path: string}[] = []
  #bytes = 0

  constructor(pool: ScanPool, format: ObjectFormat) {
    this.#pool = pool
    this.#format = format
  }

  async read(stream: Readable): Promise<void> {
    const reader = new ByteReader(stream as AsyncIterable<Buffer>)
    for (let line = await reader.line(); line !== undefined; line = await reader.line()) {
      const [, object = '', type = '', size = '', path = ''] =
        /^([0-9a-f]+) (commit|tree|blob|tag) (\d+) ?(.*)$/s.exec(line.toString('utf8')) ?? []
      if (object === '') throw new Error('git cat-file wrote an unknown line')
      const content = await reader.take(Number(size) + 1)
      if (content.length !== Number(size) + 1) throw new Error('git cat-file ended inside an object')
      const body = content.subarray(0, -1)
      const text = type === 'tree' ? Buffer.from(treeNames(body, this.#format)) : body
      await this.#add({text, type: type as ObjectType, object, path})
    }
    await this.#flush()
    await this.settle()
  }

  /** Waits for what runs. @throws PushRefused when something could not be judged */
  async settle(): Promise<void> {
    while (this.#running.size > 0) await Promise.race(this.#running)
    if (this.#failure instanceof ScanFailed) {
      throw new PushRefused(
        [
          {
            class: 'scan',
            message: `not accepted: ${this.#failure.message}`,
            short: 'content could not be scanned',
            ruleId: 'secrets.onError',
          },
        ],
        this.#failure,
      )
    }
    if (this.#failure !== undefined) throw this.#failure as Error
  }

  /** Each kind has its own limit: what only looks like a secret must not crowd out one. */
  #keep(found: Found): void {
    const alike = this.found.filter(({kind}) => (kind === 'generic') === (found.kind === 'generic'))
    if (alike.length < MAX_FOUND) this.found.push(found)
  }

  async #add(item: {text: Buffer; type: ObjectType; object: string; path: string}): Promise<void> {
    this.#batch.push(item)
    this.#bytes += item.text.length
    this.count++
    if (this.#bytes >= BATCH_BYTES || this.#batch.length >= BATCH_TEXTS) await this.#flush()
  }

  async #flush(): Promise<void> {
    const batch = this.#batch
    if (batch.length === 0) return
    this.#batch = []
    this.#bytes = 0
    // The pool has its own copy: only the places are kept.
    const places = batch.map(({type, object, path}) => ({type, object, path}))
    const running = this.#pool
      .scan(batch.map(({text}) => text))
      .then((results) => {
        results.forEach((findings, index) => {
          const place = places[index]
          if (!place) return
          for (const finding of findings) this.#keep({...finding, ...place})
        })
      })
      .catch((error: unknown) => {
        this.#failure ??= error
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
    while (this.#running.size >= BATCHES_AT_ONCE) await Promise.race(this.#running)
    if (this.#failure !== undefined) await this.settle()
  }
}

/** The names in a tree object, one a line: `mode SP name NUL id`. */
function treeNames(tree: Buffer, format: ObjectFormat): string {
  const names: string[] = []
  const idBytes = hexLength(format) / 2
  for (let at = 0; at < tree.length;) {
    const space = tree.indexOf(0x20, at)
    const nul = tree.indexOf(0, space)
    if (space < 0 || nul < 0) throw new Error('a tree object is malformed')
    names.push(tree.toString('utf8', space + 1, nul))
    at = nul + 1 + idBytes
  }
  return names.join('\n')
}
