import type {Readable} from 'node:stream'
import type {Finding} from '../scan/messages.js'
import {MAX_MATCH, PIECE_STEP} from '../../scan/scanner.js'
import {ScanFailed, type ScanPool} from '../scan/pool.js'
import {ByteReader} from '../wire/byte-reader.js'
import {hexLength, type ObjectFormat} from '../wire/receive-request.js'
import {PushRefused} from './problem.js'

const BATCH_BYTES = 1024 * 1024
const BATCH_TEXTS = 512
const BATCHES_AT_ONCE = 3
const MAX_FOUND = 200

export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag'

/** What of an object is scanned at once, and where it lies. */
interface Piece {
  text: Buffer
  type: ObjectType
  object: string
  path: string
  /** lines of the object before this piece */
  lines: number
}

export interface Found extends Finding {
  type: ObjectType
  object: string
  /** of a blob: the first path under which it appears; of a tree: the folder */
  path: string
}

/** Reads objects as `git cat-file --batch` writes them and has each scanned, a few batches ahead. */
export class ContentScan {
  readonly found: Found[] = []
  /** more than were kept, of those that are more than a name */
  unkept = 0
  /** parents of the commits that went through */
  readonly parents = new Set<string>()
  /** by commit, the addresses of its author and committer */
  readonly people = new Map<string, ReadonlySet<string>>()
  readonly #pool: ScanPool
  readonly #format: ObjectFormat
  readonly #running = new Set<Promise<void>>()
  #failure: unknown
  #batch: Piece[] = []
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
      const place = {type: type as ObjectType, object, path}
      if (type === 'blob') await this.#readBlob(reader, Number(size), place)
      else {
        const body = await exactly(reader, Number(size))
        if (type === 'commit') {
          for (const parent of parentsOf(body)) this.parents.add(parent)
          this.people.set(object, addressesIn(body))
        }
        const text = type === 'tree' ? Buffer.from(treeNames(body, this.#format)) : body
        await this.#add({text, lines: 0, ...place})
      }
      await exactly(reader, 1)
    }
    await this.#flush()
    await this.settle()
  }

  /** In pieces, so that no more of it lies in memory than is scanned. */
  async #readBlob(
    reader: ByteReader,
    size: number,
    place: Pick<Piece, 'type' | 'object' | 'path'>,
  ): Promise<void> {
    for (let at = 0, lines = 0; ; at += PIECE_STEP) {
      const length = Math.min(PIECE_STEP + MAX_MATCH, size - at)
      const isLast = at + length === size
      const text = isLast ? await exactly(reader, length) : Buffer.from(await reader.peek(length))
      if (!isLast) await exactly(reader, PIECE_STEP)
      await this.#add({text, lines, ...place})
      if (isLast) return
      lines += newlinesIn(text.subarray(0, PIECE_STEP))
    }
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
    const alike = this.found.filter(({kind}) => kind === found.kind)
    const known = alike.filter(({rule, sha256}) => rule === found.rule && sha256 === found.sha256)
    // Where two pieces of an object overlap it is found twice.
    const place = ['object', 'path', 'line'] as const
    if (known.some((one) => place.every((key) => one[key] === found[key]))) return
    if (alike.length < MAX_FOUND) this.found.push(found)
    // A value that was kept elsewhere is judged there.
    else if (known.length === 0 && found.kind !== 'generic') this.unkept++
  }

  async #add(item: Piece): Promise<void> {
    this.#batch.push(item)
    this.#bytes += item.text.length
    if (this.#bytes >= BATCH_BYTES || this.#batch.length >= BATCH_TEXTS) await this.#flush()
  }

  async #flush(): Promise<void> {
    const batch = this.#batch
    if (batch.length === 0) return
    this.#batch = []
    this.#bytes = 0
    // The pool has its own copy: only the places are kept.
    const places = batch.map(({type, object, path, lines}) => ({type, object, path, lines}))
    const running = this.#pool
      .scan(batch.map(({text}) => text))
      .then((results) => {
        results.forEach((findings, index) => {
          const place = places[index]
          if (!place) return
          const {lines, ...where} = place
          for (const finding of findings) this.#keep({...finding, ...where, line: lines + finding.line})
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

/** Errors: the stream ended before. */
async function exactly(reader: ByteReader, length: number): Promise<Buffer> {
  const bytes = await reader.take(length)
  if (bytes.length !== length) throw new Error('git cat-file ended inside an object')
  return bytes
}

function newlinesIn(text: Buffer): number {
  let count = 0
  for (let at = text.indexOf(0x0a); at >= 0; at = text.indexOf(0x0a, at + 1)) count++
  return count
}

/** A commit object begins with its tree and its parents, one a line. */
function parentsOf(commit: Buffer): string[] {
  const parents: string[] = []
  for (const line of commit.toString('latin1').split('\n').slice(1)) {
    const parent = /^parent ([0-9a-f]+)$/.exec(line)?.[1]
    if (parent === undefined) break
    parents.push(parent)
  }
  return parents
}

/** Of author and committer; a line that says it otherwise is the address of nobody. */
function addressesIn(commit: Buffer): Set<string> {
  const text = commit.toString('utf8')
  const head = text.slice(0, Math.max(0, text.indexOf('\n\n')))
  const lines = head.split('\n').filter((line) => /^(?:author|committer) /.test(line))
  return new Set(lines.map((line) => /^\w+ [^<>]*<([^<>]*)> \d+ [+-]\d{4}$/.exec(line)?.[1] ?? ''))
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
