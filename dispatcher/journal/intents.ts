import {settled} from '../upstream/settled.js'
import type {RefCommand} from '../wire/receive-request.js'
import type {Journal, JournalEntry} from './journal.js'

type Refs = ReadonlyMap<string, string>

/**
 * Pushes whose outcome was never recorded. The refs themselves say what became of them: those of this volume at the
 * start, those of an upstream when it is first asked, which may be much later.
 */
export class OpenIntents {
  readonly #journal: Journal
  readonly #open = new Map<string, JournalEntry[]>()

  constructor(journal: Journal) {
    this.#journal = journal
  }

  /** @param refsOf refs of a repository as they are now; undefined = cannot be said yet */
  async open(refsOf: (repository: string) => Promise<Refs | undefined>): Promise<void> {
    const intents = await this.#journal.openIntents()
    const waiting: JournalEntry[] = []
    for (const intent of intents) {
      const refs = await refsOf(String(intent['repository']))
      if (refs) await this.#close(intent, refs)
      else waiting.push(intent)
    }
    await this.#journal.append({phase: 'event', op: 'start'})
    for (const intent of waiting) {
      // Written again behind the start, which is where the next start looks.
      const entry = Object.fromEntries(
        Object.entries(intent).filter(([name]) => !['seq', 'prev', 'ts'].includes(name)),
      ) as JournalEntry
      await this.#journal.append(entry)
      const name = String(entry['repository'])
      this.#open.set(name, [...(this.#open.get(name) ?? []), entry])
    }
  }

  /** Closes what waits for a repository, now that its refs are known. */
  async settle(repository: string, refs: Refs): Promise<void> {
    const waiting = this.#open.get(repository)
    if (!waiting) return
    this.#open.delete(repository)
    for (const intent of waiting) await this.#close(intent, refs)
  }

  async #close(intent: JournalEntry, now: Refs): Promise<void> {
    const refs = settled(intent['commands'] as RefCommand[], now)
    const all = (state: string) => refs.every((one) => one.state === state)
    await this.#journal.append({
      phase: 'outcome',
      op: 'push',
      request: intent['request'],
      task: intent['task'],
      decision: all('done') ? 'allow' : all('refused') ? 'error' : 'unknown',
      reconciled: true,
      refs,
    })
  }
}
