import {readFile, readdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode} from '../../core/errors.js'
import {isTaskName, type StoredDocument} from '../socket-api.js'
import {syncDirectory, writeDurably} from '../../core/durable-file.js'

/** Keeps the bytes of the tasks' documents. It neither checks nor trusts them: `gate` does, at every load. */
export class DocumentFiles {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async list(): Promise<StoredDocument[]> {
    const names = await this.#names()
    return Promise.all(
      names.map(async (name) => ({
        task: name.slice(0, -'.json'.length),
        text: await readFile(join(this.#directory, name), 'utf8'),
      })),
    )
  }

  async put(task: string, text: string): Promise<void> {
    await writeDurably(this.#pathOf(task), text)
  }

  async remove(task: string): Promise<void> {
    await rm(this.#pathOf(task), {force: true})
    if ((await this.#names()).length > 0) await syncDirectory(this.#directory)
  }

  /** Branch → task, as the documents say; good for a hint to a person, not for a decision. */
  async branches(): Promise<Map<string, string>> {
    const branches = new Map<string, string>()
    for (const {task, text} of await this.list()) {
      try {
        const {body} = JSON.parse(text) as {body: string}
        const {branch} = JSON.parse(body) as {branch: unknown}
        if (typeof branch === 'string') branches.set(`refs/heads/${branch}`, task)
      } catch {
        continue
      }
    }
    return branches
  }

  async #names(): Promise<string[]> {
    try {
      const names = await readdir(this.#directory)
      return names
        .filter((name) => name.endsWith('.json') && isTaskName(name.slice(0, -'.json'.length)))
        .sort()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  }

  #pathOf(task: string): string {
    if (!isTaskName(task))
      throw new CageError('not the name of a task', {code: 'TASK_NAME', exitCode: ExitCode.usage})
    return join(this.#directory, `${task}.json`)
  }
}
