import type {FarEnd} from './far-end.js'
import {gitFailure, localGit, type LocalRepository} from './git-command.js'
import {withRelay} from './relay.js'

export interface PushOptions {
  /** values for `--force-with-lease`, `ref:expected` */
  leases?: readonly string[]
  atomic?: boolean
  dryRun?: boolean
  progress?: boolean
  quiet?: boolean
  onMessage?: (chunk: Buffer) => void
  signal?: AbortSignal
}

export interface PushedRef {
  ref: string
  /** absent = accepted */
  reason?: string
  upToDate?: boolean
}

/**
 * Pushes from the person's repository as principal `operator`.
 * @param refspecs full form, `+` in front to force, an empty source to delete
 * @returns one entry for each ref the far end spoke about
 */
export async function push(
  local: LocalRepository,
  farEnd: FarEnd,
  refspecs: readonly string[],
  options: PushOptions = {},
): Promise<PushedRef[]> {
  return withRelay(
    farEnd,
    'receive-pack',
    async (relay) => {
      const result = await localGit(
        local,
        [
          'send-pack',
          '--helper-status',
          '--thin',
          ...(options.atomic ? ['--atomic'] : []),
          ...(options.dryRun ? ['--dry-run'] : []),
          ...(options.quiet ? ['--quiet'] : []),
          options.progress ? '--progress' : '--no-progress',
          ...(options.leases ?? []).map((lease) => `--force-with-lease=${lease}`),
          `--receive-pack=${relay.command}`,
          '/cage',
          ...refspecs,
        ],
        {
          ...(options.signal ? {signal: options.signal} : {}),
          ...(options.onMessage ? {onStderr: options.onMessage} : {}),
        },
      )
      const refs = parseHelperStatus(result.stdout.toString())
      if (result.code !== 0 && refs.length === 0)
        throw relay.failure() ?? gitFailure(`push to ${farEnd.name}`, result)
      return refs
    },
    options.signal,
  )
}

/** `ok REF [up to date]` and `error REF REASON`, as send-pack reports to a remote helper. */
export function parseHelperStatus(text: string): PushedRef[] {
  return text.split('\n').flatMap((line) => {
    const [word, ref, ...rest] = line.split(' ')
    const said = rest.join(' ')
    // send-pack names every branch of the far end, also those this push is not about.
    if (ref === undefined || said === 'no match') return []
    if (word === 'ok') return [said === 'up to date' ? {ref, upToDate: true} : {ref}]
    return word === 'error' ? [{ref, reason: said || 'refused'}] : []
  })
}
