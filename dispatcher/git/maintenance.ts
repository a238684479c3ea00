import {readdir, stat} from 'node:fs/promises'
import {join} from 'node:path'
import type {GitPrograms} from './children.js'
import {syncDirectory, writeDurably} from '../../core/durable-file.js'
import type {Repository} from './repositories.js'

const QUIET_MS = 5000
const MAX_PACKS = 20
const MAX_LOOSE_REFS = 100
/** what no ref holds any more stays fetchable this long */
const GRACE = '1.day.ago'
const DAY_MS = 24 * 3600 * 1000

/** Keeps repositories small: own upkeep instead of git's automatic one, and only while nobody pushes. */
export class Maintenance {
  readonly #git: GitPrograms
  readonly #log: (text: string) => void
  readonly #timers = new Map<string, NodeJS.Timeout>()

  constructor(git: GitPrograms, log: (text: string) => void) {
    this.#git = git
    this.#log = log
  }

  /** Something was stored: look at it once it is quiet. */
  note(repository: Repository): void {
    clearTimeout(this.#timers.get(repository.name))
    const timer = setTimeout(() => {
      this.#timers.delete(repository.name)
      void this.#whenFree(repository)
    }, QUIET_MS)
    timer.unref()
    this.#timers.set(repository.name, timer)
  }

  /** @returns whether there was something to do */
  async tend(repository: Repository): Promise<boolean> {
    const {directory} = repository
    const packs = (await readdir(join(directory, 'objects', 'pack'))).filter((name) =>
      name.endsWith('.pack'),
    ).length
    const looseRefs = (await readdir(join(directory, 'refs', 'heads'), {recursive: true})).length
    const marker = join(directory, 'cage-pruned')
    const prune = Date.now() - (await timeOf(marker)) > DAY_MS
    if (packs <= MAX_PACKS && looseRefs <= MAX_LOOSE_REFS && !prune) return false
    await this.#git.ok(['pack-refs', '--all'], {directory})
    if (prune) {
      await this.#git.ok(['repack', '-A', '-d', '-q', `--unpack-unreachable=${GRACE}`], {directory})
      await this.#git.ok(['prune', `--expire=${GRACE}`], {directory})
      await writeDurably(marker, '')
    } else if (packs > MAX_PACKS) await this.#git.ok(['repack', '--geometric=2', '-d', '-q'], {directory})
    await this.#git.ok(['commit-graph', 'write', '--reachable'], {directory})
    for (const folder of ['', 'objects/pack', 'refs/heads']) await syncDirectory(join(directory, folder))
    return true
  }

  async #whenFree(repository: Repository): Promise<void> {
    try {
      const done = await repository.lock.own(async () => {
        await this.tend(repository)
      })
      if (!done) this.note(repository)
    } catch (error) {
      this.#log(`maintenance of ${repository.name}: ${String(error)}`)
    }
  }
}

/** When a file was written last; one that is not there is made, so that the first day begins. */
async function timeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await writeDurably(path, '')
    return Date.now()
  }
}
