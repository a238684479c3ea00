import type {GitGrant} from '../../policy/grant.js'
import type {Journal} from '../journal/journal.js'
import {taskOf} from './push-record.js'

const WINDOW_MS = 10_000

interface Window {
  fetches: number
  bytesOut: number
}

/**
 * Records of fetches. The first of a task is recorded before it is served; those of the next seconds are summed up in
 * one record, so that a loop of fetches does not fill the volume.
 */
export class FetchLog {
  readonly #journal: Journal
  readonly #windows = new Map<string, Window>()

  constructor(journal: Journal) {
    this.#journal = journal
  }

  /** @throws CageError when it cannot be recorded: do not serve */
  async begin(
    grant: GitGrant,
    repository: string,
    request: string,
  ): Promise<{sent: (bytes: number) => void}> {
    const key = `${grant.principal} ${grant.task} ${repository}`
    const open = this.#windows.get(key)
    if (open) {
      open.fetches++
      return {sent: (bytes) => (open.bytesOut += bytes)}
    }
    const window: Window = {fetches: 0, bytesOut: 0}
    const about = {
      op: 'fetch',
      decision: 'allow',
      principal: grant.principal,
      ...taskOf(grant),
      repository,
      policyRev: grant.revision,
    }
    this.#windows.set(key, window)
    try {
      await this.#journal.append({phase: 'decision', request, ...about})
    } catch (error) {
      this.#windows.delete(key)
      throw error
    }
    setTimeout(() => {
      this.#windows.delete(key)
      if (window.fetches > 0 || window.bytesOut > 0)
        this.#journal
          .append({phase: 'event', ...about, more: window.fetches, bytesOut: window.bytesOut})
          .catch(() => undefined)
    }, WINDOW_MS).unref()
    return {sent: (bytes) => (window.bytesOut += bytes)}
  }
}
