import {access} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {gitFailed, saysDiskFull, type GitPrograms} from '../git/children.js'
import {syncDirectory} from '../../core/durable-file.js'
import type {Repository, RepositoryStore} from '../git/repositories.js'
import {zeroId, type RefCommand} from '../wire/receive-request.js'
import {settled} from './settled.js'
import type {AcceptedPush, RefOutcome, Upstream} from './upstream.js'

/** The repository on the dispatcher's own volume is the upstream. */
export class HostedUpstream implements Upstream {
  readonly #git: GitPrograms
  readonly #repositories: RepositoryStore

  constructor(git: GitPrograms, repositories: RepositoryStore) {
    this.#git = git
    this.#repositories = repositories
  }

  async publish(push: AcceptedPush): Promise<RefOutcome[]> {
    await this.#storeObjects(push)
    const whole = await this.#updateRefs(push.repository, push.commands)
    if (whole === undefined) return push.commands.map(({ref}) => ({ref, state: 'done'}))
    if (push.atomic || push.commands.length === 1) {
      return push.commands.map(({ref}) => ({ref, state: 'refused', reason: reasonOf(whole, ref)}))
    }
    const outcomes: RefOutcome[] = []
    for (const command of push.commands) {
      const failure = await this.#updateRefs(push.repository, [command])
      outcomes.push(
        failure === undefined
          ? {ref: command.ref, state: 'done'}
          : {ref: command.ref, state: 'refused', reason: reasonOf(failure, command.ref)},
      )
    }
    return outcomes
  }

  async settle(repository: Repository, commands: readonly RefCommand[]): Promise<RefOutcome[]> {
    return settled(commands, await this.#repositories.refs(repository))
  }

  /** A pack of exactly the new objects, complete in itself, on disk with its directory before any ref names it. */
  async #storeObjects({repository, commands, quarantine, known, signal}: AcceptedPush): Promise<void> {
    const zero = zeroId(repository.format)
    const tips = commands.filter((command) => command.new !== zero).map((command) => command.new)
    if (tips.length === 0) return
    const packs = join(repository.directory, 'objects', 'pack')
    const args = [
      'pack-objects',
      '--revs',
      '--delta-base-offset',
      '--window=0',
      '--non-empty',
      '-q',
      join(packs, 'pack'),
    ]
    const {code, stderr} = await this.#git.run(args, {
      directory: repository.directory,
      quarantine,
      input: [...tips, ...[...new Set(known.values())].map((id) => `^${id}`), ''].join('\n'),
      signal,
    })
    if (code !== 0) throw gitFailed(args, code, stderr)
    await syncDirectory(packs)
  }

  /** @returns what git says when nothing was changed */
  async #updateRefs(repository: Repository, commands: readonly RefCommand[]): Promise<string | undefined> {
    const zero = zeroId(repository.format)
    // -z: names with any byte; `update` with the old id compares and swaps, zero = must not exist.
    const input = commands
      .map(({ref, old, new: next}) =>
        next === zero ? `delete ${ref}\0${old}\0` : `update ${ref}\0${next}\0${old}\0`,
      )
      .join('')
    const {code, stderr} = await this.#git.run(['update-ref', '--no-deref', '--stdin', '-z'], {
      directory: repository.directory,
      input,
    })
    if (code !== 0) return stderr
    for (const {ref} of commands) await syncUpwards(join(repository.directory, ref), repository.directory)
    return undefined
  }
}

/** Folders of a ref come and go with it; each that exists is synced up to the repository. */
async function syncUpwards(path: string, top: string): Promise<void> {
  for (let folder = dirname(path); folder.startsWith(top); folder = dirname(folder)) {
    const exists = await access(folder).then(
      () => true,
      () => false,
    )
    if (exists) await syncDirectory(folder)
  }
}

function reasonOf(stderr: string, ref: string): string {
  if (saysDiskFull(stderr)) return 'dispatcher volume is full'
  if (/cannot lock ref .* (?:exists; cannot create|cannot create)/.test(stderr))
    return 'name conflicts with an existing branch'
  if (/reference already exists|but expected|unable to resolve reference|does not exist/.test(stderr)) {
    return stderr.includes(ref)
      ? 'somebody else moved it: fetch first'
      : 'another ref of this push was refused'
  }
  return 'ref could not be updated'
}
