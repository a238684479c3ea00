import {constants, open, type FileHandle} from 'node:fs/promises'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {CageError, messageOf} from '../../core/errors.js'
import {writeAtomically} from '../files.js'

export const countersFile = 'counters.jsonl'
const COMPACT_BYTES = 1024 * 1024

/** The one way to the disk, so that a test can let it fail. */
export interface CountersFile {
  append(text: string): Promise<void>
  close(): Promise<void>
}

/**
 * Numbers that outlive the sidecar, on its claim: one JSON line for each change, the last one of a name holds. What
 * must not be forgotten is written before it happens.
 */
export class Counters {
  readonly #values: Map<string, number>
  #file: CountersFile
  #pending = new Map<string, number>()
  #writing: Promise<void> | undefined

  constructor(file: CountersFile, values: ReadonlyMap<string, number> = new Map()) {
    this.#file = file
    this.#values = new Map(values)
  }

  /** Throws CageError COUNTERS_UNUSABLE: without them nothing that is counted may start. */
  static async open(directory: string): Promise<Counters> {
    const path = join(directory, countersFile)
    try {
      const {values, bytes} = readCounters(path)
      if (bytes > COMPACT_BYTES) writeAtomically(path, lineOf(values), 0o600)
      const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND, 0o600)
      return new Counters(fileOf(handle), values)
    } catch (cause) {
      const message = `the counters ${path} cannot be used: ${messageOf(cause)}`
      throw new CageError(message, {code: 'COUNTERS_UNUSABLE', cause})
    }
  }

  get(name: string): number {
    return this.#pending.get(name) ?? this.#values.get(name) ?? 0
  }

  /** In force at once, on disk when it resolves; rejects when it cannot be written. */
  async set(name: string, value: number): Promise<void> {
    this.#values.set(name, value)
    this.#pending.set(name, value)
    // Whatever is set while a line is written goes into the next one.
    while (this.#pending.has(name)) {
      this.#writing ??= this.#write().finally(() => (this.#writing = undefined))
      await this.#writing
    }
  }

  async #write(): Promise<void> {
    await Promise.resolve()
    const line = this.#pending
    this.#pending = new Map()
    try {
      await this.#file.append(lineOf(line))
    } catch (error) {
      // Said again with the next change: what is on disk must catch up.
      for (const [name, value] of line) if (!this.#pending.has(name)) this.#pending.set(name, value)
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#writing?.catch(() => undefined)
    await this.#file.close()
  }
}

/** Values and size of a file of counters; empty when there is none. Throws when it holds none of its lines. */
export function readCounters(path: string): {values: Map<string, number>; bytes: number} {
  const values = new Map<string, number>()
  let text = ''
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const lines = text.split('\n').filter((line) => line !== '')
  const read = lines.map((line) => parseLine(line))
  // A line that a crash cut short was never acknowledged; a file without any is not this one.
  if (lines.length > 1 && read.every((entries) => entries === undefined))
    throw new Error('it holds no counters')
  for (const entries of read) for (const [name, value] of entries ?? []) values.set(name, value)
  return {values, bytes: text.length}
}

/** The newline in front ends whatever a crash may have left. */
function lineOf(values: ReadonlyMap<string, number>): string {
  return `\n${JSON.stringify(Object.fromEntries(values))}\n`
}

function parseLine(line: string): [string, number][] | undefined {
  try {
    const entries = Object.entries(JSON.parse(line) as Record<string, unknown>)
    const isValid = entries.every(([, value]) => typeof value === 'number' && Number.isFinite(value))
    return isValid ? (entries as [string, number][]) : undefined
  } catch {
    return undefined
  }
}

function fileOf(handle: FileHandle): CountersFile {
  return {
    append: async (text) => {
      await handle.appendFile(text)
      await handle.datasync()
    },
    close: () => handle.close(),
  }
}
