import {CageError, messageOf} from '../../core/errors.js'
import {isNearlyFull} from '../free-space.js'
import {errorIn, type SocketClient} from '../socket-client.js'
import type {GitService} from '../socket-api.js'
import {readAdvertisement, type Advertisement} from '../wire/advertisement.js'
import {zeroId} from '../wire/receive-request.js'
import {gitFailed, type GitPrograms} from './children.js'
import {withFetchWay} from './fetch-way.js'
import {NamedLocks} from './locks.js'
import type {Refs, Repository, RepositoryStore} from './repositories.js'

/** A copy of an upstream repository, and what the upstream said a moment ago. */
export interface Mirror extends Advertisement {
  repository: Repository
}

export interface MirrorParts {
  git: GitPrograms
  repositories: RepositoryStore
  gate: SocketClient
  volume: string
  /** the mirror follows the upstream: called after each time */
  onFresh: (repository: Repository, refs: Refs) => Promise<void>
}

/**
 * Copies of upstream repositories, for this container alone: base of thin packs, and what need not be scanned because it is
 * upstream already. No agent is ever served from one. They follow the upstream whenever somebody is about to push.
 */
export class Mirrors {
  readonly #parts: MirrorParts
  readonly #locks = new NamedLocks()
  readonly #capabilities = new Map<string, ReadonlySet<string>>()

  constructor(parts: MirrorParts) {
    this.#parts = parts
  }

  /**
   * Asks the upstream, and fetches what is new there; many who ask at once share the fetch.
   * Errors: UPSTREAM_* as `gate` says them.
   */
  async refresh(name: string, service: GitService): Promise<Mirror> {
    const advertisement = await this.advertisement(name, service)
    const repository = await this.#locks.hold([name], () => this.#follow(name, advertisement))
    await this.#parts.onFresh(repository, advertisement.refs)
    return {...advertisement, repository}
  }

  /** What the upstream says now. Errors: UPSTREAM_* */
  async advertisement(name: string, service: GitService): Promise<Advertisement> {
    const {status, body} = await this.#parts.gate.call({
      method: 'GET',
      path: `/upstream/${encodeURIComponent(name)}/info/refs?service=${service}`,
    })
    if (status !== 200) throw await errorIn(body)
    try {
      const found = await readAdvertisement(body)
      if (service === 'git-receive-pack') this.#capabilities.set(name, found.capabilities)
      return found
    } catch (cause) {
      throw new CageError(`the upstream gave an answer that cannot be read: ${messageOf(cause)}`, {
        code: 'UPSTREAM_ANSWER',
        cause,
      })
    }
  }

  /** What the upstream's receive-pack can do. */
  async capabilities(name: string): Promise<ReadonlySet<string>> {
    return this.#capabilities.get(name) ?? (await this.advertisement(name, 'git-receive-pack')).capabilities
  }

  /** What became of the refs of a push at the upstream; its own list is right, this one follows. */
  async note(repository: Repository, changed: ReadonlyMap<string, string>): Promise<void> {
    await this.#setRefs(repository, changed)
  }

  async #follow(name: string, {refs, format, head}: Advertisement): Promise<Repository> {
    const {repositories, git} = this.#parts
    const branch = head?.slice('refs/heads/'.length)
    const repository =
      (await repositories.find(name)) ?? (await repositories.init(name, branch ?? 'main', format)).repository
    if (repository.format !== format)
      throw new CageError(`the upstream has changed to ${format} object ids`, {code: 'UPSTREAM_ANSWER'})
    const changed = differences(await repositories.refs(repository), refs, zeroId(format))
    if (changed.size > 0 && !(await this.#moveRefs(repository, changed))) await this.#fetch(repository)
    if (head !== undefined && (await repositories.defaultRef(repository)) !== head)
      await git.ok(['symbolic-ref', 'HEAD', head], {directory: repository.directory})
    return repository
  }

  /** Without asking the upstream, when what it has now is here already. */
  async #moveRefs(repository: Repository, changed: ReadonlyMap<string, string>): Promise<boolean> {
    if (!(await this.#hasObjects(repository, changed))) return false
    // A name that turned from a branch into a folder of branches takes the slow way, which prunes first.
    return this.#setRefs(repository, changed).then(
      () => true,
      () => false,
    )
  }

  async #hasObjects(repository: Repository, changed: ReadonlyMap<string, string>): Promise<boolean> {
    const wanted = [...changed.values()].filter((id) => id !== zeroId(repository.format))
    if (wanted.length === 0) return true
    const found = await this.#parts.git.ok(['cat-file', '--batch-check=%(objecttype)'], {
      directory: repository.directory,
      input: `${wanted.join('\n')}\n`,
    })
    return !/ missing$/m.test(found)
  }

  /** Old history of an upstream may break rules that new objects must keep, so it is not judged here. */
  async #fetch(repository: Repository): Promise<void> {
    const {git, gate, volume} = this.#parts
    if (await isNearlyFull(volume))
      throw new CageError('the dispatcher volume is full', {code: 'UPSTREAM_NO_SPACE'})
    await withFetchWay(gate, repository.name, async (url) => {
      const args = [
        ...['-c', 'http.followRedirects=false', '-c', 'transfer.fsckObjects=false'],
        ...['-c', 'fetch.unpackLimit=1', '-c', 'protocol.version=2'],
        ...[
          'fetch',
          '--quiet',
          '--prune',
          '--no-auto-maintenance',
          '--no-write-fetch-head',
          '--no-tags',
          '--force',
        ],
        ...['--', url, '+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'],
      ]
      const {code, stderr} = await git.run(args, {directory: repository.directory, allowHttp: true})
      // The address holds a nonce: what git says about it is not repeated.
      if (code !== 0) throw gitFailed(['fetch'], code, stderr.replaceAll(url, '<upstream>'))
    })
  }

  async #setRefs({directory, format}: Repository, changed: ReadonlyMap<string, string>): Promise<void> {
    const zero = zeroId(format)
    const input = [...changed]
      .map(([ref, id]) => (id === zero ? `delete ${ref}\0\0` : `update ${ref}\0${id}\0\0`))
      .join('')
    await this.#parts.git.ok(['update-ref', '--no-deref', '--stdin', '-z'], {directory, input})
  }
}

/** Names whose object is another now; zeros = the name is gone. */
function differences(before: Refs, now: Refs, zero: string): Map<string, string> {
  const changed = new Map([...now].filter(([ref, id]) => before.get(ref) !== id))
  for (const ref of before.keys()) if (!now.has(ref)) changed.set(ref, zero)
  return changed
}
