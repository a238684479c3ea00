import type {Readable} from 'node:stream'
import type {Finding} from '../scan/messages.js'
import {MAX_MATCH, PIECE_STEP} from '../../scan/scanner.js'
import {ScanFailed, type ScanPool} from '../scan/pool.js'
import type {Sheet} from '../scan/sheet.js'
import {ByteReader} from '../wire/byte-reader.js'
import {hexLength, type ObjectFormat} from '../wire/receive-request.js'
import {missingObjects, PushRefused} from './problem.js'

const BATCH_TEXTS = 512
const BATCHES_AT_ONCE = 3
const MAX_FOUND = 200

export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag'

/** What git says of an object before it writes its content. */
export interface ObjectHead {
  type: ObjectType
  object: string
  /** of a blob: the first path under which it appears; of a tree: the folder */
  path: string
  /** bytes */
  size: number
}

/** `ID TYPE SIZE PATH`. @throws PushRefused when the object is missing */
export function objectHead(line: Buffer): ObjectHead {
  const text = line.toString('utf8')
  if (/^[0-9a-f]+ missing$/.test(text)) throw new PushRefused([missingObjects])
  const [, object = '', type = '', size = '', path = ''] =
    /^([0-9a-f]+) (commit|tree|blob|tag) (\d+) ?(.*)$/s.exec(text) ?? []
  if (object === '') throw new Error('git cat-file wrote an unknown line')
  return {object, type: type as ObjectType, size: Number(size), path}
}

/** Where what is scanned at once lies. */
interface Place {
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
  #sheet: Sheet | undefined
  /** of the texts on the sheet */
  #places: Place[] = []

  constructor(pool: ScanPool, format: ObjectFormat) {
    this.#pool = pool
    this.#format = format
  }

  /** @param wants is asked about every object before its content is read; what it does not want is passed over */
  async read(stream: Readable, wants: (head: ObjectHead) => boolean | Promise<boolean>): Promise<void> {
    const reader = new ByteReader(stream as AsyncIterable<Buffer>)
    for (let line = await reader.line(); line !== undefined; line = await reader.line()) {
      const head = objectHead(line)
      if (await wants(head)) await this.#readObject(reader, head)
      else if ((await reader.skip(head.size)) !== head.size) throw endedInside()
      await exactly(reader, 1)
    }
    await this.#flush()
    await this.settle()
  }

  async #readObject(reader: ByteReader, {type, object, path, size}: ObjectHead): Promise<void> {
    const place = {type, object, path}
    if (type === 'blob') return this.#readBlob(reader, size, place)
    const body = await exactly(reader, size)
    if (type === 'commit') {
      for (const parent of parentsOf(body)) this.parents.add(parent)
      this.people.set(object, addressesIn(body))
    }
    const text = type === 'tree' ? Buffer.from(treeNames(body, this.#format)) : body
    text.copy(await this.#room(text.length, {...place, lines: 0}))
  }

  /** In pieces, so that no more of it lies in memory than is scanned; they overlap by what a match may be long. */
  async #readBlob(reader: ByteReader, size: number, place: Omit<Place, 'lines'>): Promise<void> {
    let overlap: Buffer = Buffer.alloc(0)
    for (let at = 0, lines = 0; ; at += PIECE_STEP) {
      const length = Math.min(PIECE_STEP + MAX_MATCH, size - at)
      const text = await this.#room(length, {...place, lines})
      const fresh = text.subarray(overlap.copy(text))
      if ((await reader.fill(fresh)) !== fresh.length) throw endedInside()
      if (at + length === size) return
      lines += newlinesIn(text.subarray(0, PIECE_STEP))
      overlap = Buffer.from(text.subarray(PIECE_STEP))
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

  /** Where the next text goes. */
  async #room(bytes: number, place: Place): Promise<Buffer> {
    if (this.#places.length >= BATCH_TEXTS || this.#sheet?.fits(bytes) === false) await this.#flush()
    this.#sheet ??= this.#pool.sheet(bytes)
    this.#places.push(place)
    return this.#sheet.room(bytes)
  }

  async #flush(): Promise<void> {
    const [sheet, places] = [this.#sheet, this.#places]
    if (!sheet) return
    this.#sheet = undefined
    this.#places = []
    const running = this.#pool
      .scanSheet(sheet)
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
  if (bytes.length !== length) throw endedInside()
  return bytes
}

const endedInside = () => new Error('git cat-file ended inside an object')

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
  // A commit without a message may end with its head.
  const [head = ''] = commit.toString('utf8').split('\n\n', 1)
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
