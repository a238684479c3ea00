import type {Refs, Repository} from '../git/repositories.js'
import type {RefCommand} from '../wire/receive-request.js'

export interface AcceptedPush {
  /** its name in messages and in the journal */
  request: string
  repository: Repository
  /** in the client's order; old ids are what the push was judged against */
  commands: readonly RefCommand[]
  /** where the judged objects lie */
  quarantine: string
  /** the refs against which "new" was decided */
  known: Refs
  /** all refs or none */
  atomic: boolean
  signal: AbortSignal
  /** one line for the person who pushes */
  say: (text: string) => void
}

export interface RefOutcome {
  ref: string
  /** `unknown`: sent, and nobody can say whether it was done */
  state: 'done' | 'refused' | 'unknown'
  /** below 100 bytes; absent when done */
  reason?: string
}

/**
 * Where accepted commits go.
 * - `publish` MUST send objects it gathered itself from the judged tips, never the client's pack, and MUST move a ref
 *   only from the old id that was judged.
 * - A ref reported `done` MUST survive a crash at any later moment.
 * - `settle` MUST only read; it tells what became of commands whose outcome was never recorded.
 */
export interface Upstream {
  publish(push: AcceptedPush): Promise<RefOutcome[]>
  settle(repository: Repository, commands: readonly RefCommand[]): Promise<RefOutcome[]>
}
