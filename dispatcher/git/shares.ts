import {mkdir, readFile, readdir, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {messageOf} from '../../core/errors.js'
import {isTaskName} from '../socket-api.js'
import type {Problem} from './problem.js'

/**
 * Bytes that each task has stored on the volume in its life, so that none takes it from the others. What a task no longer
 * refers to still counts: it lies there until upkeep removes it. Counted after the fact: a crash may forget the last push.
 */
export class DiskShares {
  readonly #directory: string
  readonly #log: (text: string) => void
  readonly #used = new Map<string, number>()

  constructor(directory: string, log: (text: string) => void) {
    this.#directory = directory
    this.#log = log
  }

  async load(): Promise<void> {
    await mkdir(this.#directory, {recursive: true, mode: 0o700})
    for (const task of (await readdir(this.#directory)).filter(isTaskName)) {
      const text = await readFile(join(this.#directory, task), 'utf8')
      // What cannot be read, such as a file that a crash left empty, counts as everything.
      this.#used.set(task, /^\d{1,15}$/.test(text) ? Number(text) : Infinity)
    }
  }

  /** @param limit undefined = no share of its own */
  problem(task: string, bytes: number, limit: number | undefined): Problem | undefined {
    const used = this.#used.get(task) ?? 0
    if (limit === undefined || used + bytes <= limit) return undefined
    return {
      class: 'share',
      message: `this task has stored ${used} bytes of the ${limit} that it may, and this push has ${bytes}`,
      short: 'share of the volume is used up',
      ruleId: 'limits.totalBytes',
    }
  }

  add(task: string, bytes: number): void {
    if (!isTaskName(task)) return
    const used = (this.#used.get(task) ?? 0) + bytes
    this.#used.set(task, used)
    writeFile(join(this.#directory, task), String(used), {mode: 0o600}).catch((error: unknown) => {
      this.#log(`share of task ${task}: ${messageOf(error)}`)
    })
  }

  async remove(task: string): Promise<void> {
    if (!isTaskName(task)) return
    this.#used.delete(task)
    await rm(join(this.#directory, task), {force: true})
  }
}
