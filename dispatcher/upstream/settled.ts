import type {RefCommand} from '../wire/receive-request.js'
import type {Repository} from '../git/repositories.js'
import type {RefOutcome, Upstream} from './upstream.js'

/** What became of commands, by the refs as they are now. */
export function settled(commands: readonly RefCommand[], refs: ReadonlyMap<string, string>): RefOutcome[] {
  return commands.map(({ref, old, new: next}) => {
    const now = refs.get(ref) ?? '0'.repeat(old.length)
    if (now === next) return {ref, state: 'done'}
    if (now === old) return {ref, state: 'refused', reason: 'not applied, safe to retry'}
    return {ref, state: 'unknown', reason: 'the ref has moved on since'}
  })
}

/** After a failure: what the refs say; when they cannot be asked either, nobody knows. */
export async function settledOrUnknown(
  upstream: Upstream,
  repository: Repository,
  commands: readonly RefCommand[],
): Promise<RefOutcome[]> {
  try {
    return await upstream.settle(repository, commands)
  } catch {
    return commands.map(({ref}) => ({ref, state: 'unknown', reason: 'outcome unknown: fetch first'}))
  }
}
