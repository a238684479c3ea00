import {CageError, messageOf} from '../../core/errors.js'
import {isNearlyFull} from '../free-space.js'
import {errorIn, type SocketClient} from '../socket-client.js'
import type {GitService} from '../socket-api.js'
import {readAdvertisement, type Advertisement} from '../wire/advertisement.js'
import type {GitGrant} from '../../policy/grant.js'
import {zeroId, type ObjectFormat} from '../wire/receive-request.js'
import {gitFailed, type GitPrograms} from './children.js'
import {withFetchWay} from './fetch-way.js'
import type {Forks} from './forks.js'
import {NamedLocks} from './locks.js'
import type {Refs, Repository, RepositoryStore} from './repositories.js'

/** A copy of an upstream repository, and what the upstream said a moment ago. */
export interface Mirror extends Advertisement {
  repository: Repository
  /** of a fork: what the upstream that it comes from said a moment ago */
  origin?: Advertisement
}

/** What a push is judged against. */
export interface Known {
  refs: Refs
  /** of a fork: where what it comes from stands, under names of its own; empty for all else */
  origin: Refs
}

export interface MirrorParts {
  git: GitPrograms
  repositories: RepositoryStore
  gate: SocketClient
  forks: Forks
  volume: string
  /** what the upstream has now: called after each time it was asked */
  onFresh: (repository: Repository, refs: Refs) => Promise<void>
  log: (text: string) => void
}

/** how long a mirror may be behind while nobody needs what it lacks */
const CATCH_UP_MS = 10_000
/** in the copy of a fork: the refs of what it was forked from, which it may build on */
export const ORIGIN = 'refs/origin/'
const OWN_SPECS = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*']
const ORIGIN_SPECS = [`+refs/heads/*:${ORIGIN}heads/*`, `+refs/tags/*:${ORIGIN}tags/*`]

/**
 * Copies of upstream repositories, for this container alone: base of thin packs, and what need not be scanned because it is
 * upstream already. No agent is ever served from one. What the upstream has is asked before every push; what a mirror
 * lacks is fetched a little later, or at once when a push depends on it.
 */
export class Mirrors {
  readonly #parts: MirrorParts
  readonly #locks = new NamedLocks()
  readonly #capabilities = new Map<string, ReadonlySet<string>>()
  /** the upstream's refs as it said them last */
  readonly #upstream = new Map<string, Refs>()
  /** a mirror's own refs: nobody else changes them */
  readonly #own = new Map<string, Refs>()
  /** below ORIGIN, of forks */
  readonly #origin = new Map<string, Refs>()
  readonly #catchingUp = new Set<string>()
  /** refs that were pushed while others were written: the next program writes all of them */
  readonly #unwritten = new Map<string, Map<string, string>>()

  constructor(parts: MirrorParts) {
    this.#parts = parts
  }

  /**
   * What a push may be based on: refs of which everything is here. A branch of others that has moved on is offered as it
   * was; one that this grant may push is brought here first, because the client knows its new commits.
   * Errors: UPSTREAM_*
   */
  async offer(name: string, grant: GitGrant): Promise<Known & {format: ObjectFormat}> {
    const said = await this.advertisement(name, 'git-receive-pack')
    const repository = await this.#parts.repositories.find(name)
    const {format} = said
    if (repository?.format !== format)
      return {format, ...(await this.#knownOf(await this.#bring(name, said)))}
    this.#upstream.set(name, said.refs)
    const {refs, origin, behind} = await this.known(repository)
    const isOwn = (ref: string) =>
      grant.push.refs.includes(ref) || (ref.startsWith('refs/tags/') && grant.push.tags.length > 0)
    if ([...said.refs].some(([ref, id]) => isOwn(ref) && refs.get(ref) !== id))
      return {format, ...(await this.#knownOf(await this.#bring(name, said)))}
    if (behind) this.#catchUp(name)
    await this.#parts.onFresh(repository, said.refs)
    return {refs, origin, format}
  }

  /**
   * Refs that are here and that the upstream still has; of those it moved the commits that are here. What a fork comes
   * from is not asked before each push, so a fork always counts as behind.
   */
  async known(repository: Repository): Promise<Known & {behind: boolean}> {
    const {name} = repository
    const said = this.#upstream.get(name)
    if (!said) return {...(await this.#knownOf(await this.refresh(name, 'git-receive-pack'))), behind: false}
    const own = this.#own.get(name) ?? (await this.#locks.hold([name], () => this.#readRefs(repository)))
    const refs = new Map([...own].filter(([ref]) => said.has(ref)))
    const isBehind = [...said].some(([ref, id]) => refs.get(ref) !== id)
    const isFork = this.#parts.forks.originOf(name) !== undefined
    return {refs, origin: await this.#originRefs(repository), behind: isBehind || isFork}
  }

  /** The same after the upstream was asked, and everything new fetched. Errors: UPSTREAM_* */
  async refreshed(repository: Repository): Promise<Known> {
    return this.#knownOf(await this.refresh(repository.name, 'git-receive-pack'))
  }

  /**
   * Asks the upstream, and fetches what is new there; many who ask at once share the fetch.
   * Errors: UPSTREAM_* as `gate` says them.
   */
  async refresh(name: string, service: GitService): Promise<Mirror> {
    return this.#bring(name, await this.advertisement(name, service))
  }

  async #bring(name: string, said: Advertisement): Promise<Mirror> {
    const {repository, origin} = await this.#locks.hold([name], () => this.#follow(name, said))
    this.#upstream.set(name, said.refs)
    await this.#parts.onFresh(repository, said.refs)
    return {...said, repository, ...(origin ? {origin} : {})}
  }

  async #knownOf({repository, refs}: Mirror): Promise<Known> {
    return {refs, origin: await this.#originRefs(repository)}
  }

  async #originRefs(repository: Repository): Promise<Refs> {
    const {name} = repository
    if (this.#parts.forks.originOf(name) === undefined) return new Map()
    const refs = this.#origin.get(name) ?? (await this.#parts.repositories.refs(repository, [ORIGIN]))
    this.#origin.set(name, refs)
    return refs
  }

  /** Later, and once for all who asked meanwhile. */
  #catchUp(name: string): void {
    if (this.#catchingUp.has(name)) return
    this.#catchingUp.add(name)
    setTimeout(() => {
      this.#catchingUp.delete(name)
      this.refresh(name, 'git-upload-pack').catch((error: unknown) => {
        this.#parts.log(`mirror of ${name}: ${messageOf(error)}`)
      })
    }, CATCH_UP_MS).unref()
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

  /** What became of the refs of a push at the upstream: known at once, on disk a little later. */
  note(repository: Repository, changed: ReadonlyMap<string, string>): void {
    const {name, format} = repository
    const own = this.#own.get(name)
    const said = this.#upstream.get(name)
    if (own) this.#own.set(name, withChanges(own, changed, zeroId(format)))
    if (said) this.#upstream.set(name, withChanges(said, changed, zeroId(format)))
    const waiting = this.#unwritten.get(name)
    if (waiting) {
      for (const [ref, id] of changed) waiting.set(ref, id)
      return
    }
    this.#unwritten.set(name, new Map(changed))
    this.#locks
      .hold([name], () => {
        const all = this.#unwritten.get(name) ?? changed
        this.#unwritten.delete(name)
        return this.#setRefs(repository, all)
      })
      .catch((error: unknown) => {
        this.#own.delete(name)
        this.#parts.log(`mirror of ${name}: ${messageOf(error)}`)
      })
  }

  async #follow(
    name: string,
    {refs, format, head}: Advertisement,
  ): Promise<Pick<Mirror, 'repository' | 'origin'>> {
    const {repositories, git} = this.#parts
    const branch = head?.slice('refs/heads/'.length)
    const repository =
      (await repositories.find(name)) ?? (await repositories.init(name, branch ?? 'main', format)).repository
    if (repository.format !== format)
      throw new CageError(`the upstream has changed to ${format} object ids`, {code: 'UPSTREAM_ANSWER'})
    const origin = await this.#followOrigin(repository)
    const changed = differences(await repositories.refs(repository), refs, zeroId(format))
    if (changed.size > 0 && !(await this.#moveRefs(repository, changed)))
      await this.#fetch(repository, name, OWN_SPECS)
    this.#own.delete(name)
    if (head !== undefined && (await repositories.defaultRef(repository)) !== head)
      await git.ok(['symbolic-ref', 'HEAD', head], {directory: repository.directory})
    return {repository, ...(origin ? {origin} : {})}
  }

  async #followOrigin(repository: Repository): Promise<Advertisement | undefined> {
    const {repositories, forks} = this.#parts
    const {name, format} = repository
    const origin = forks.originOf(name)
    if (origin === undefined) return undefined
    const said = await this.advertisement(origin, 'git-upload-pack')
    if (said.format !== format)
      throw new CageError('the fork and its upstream have different object ids', {code: 'UPSTREAM_ANSWER'})
    const now = new Map([...said.refs].map(([ref, id]) => [ref.replace('refs/', ORIGIN), id]))
    const changed = differences(await repositories.refs(repository, [ORIGIN]), now, zeroId(format))
    if (changed.size > 0 && !(await this.#moveRefs(repository, changed)))
      await this.#fetch(repository, origin, ORIGIN_SPECS)
    this.#origin.delete(name)
    return said
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
  async #fetch(repository: Repository, from: string, specs: readonly string[]): Promise<void> {
    const {git, gate, volume} = this.#parts
    if (await isNearlyFull(volume))
      throw new CageError('the dispatcher volume is full', {code: 'UPSTREAM_NO_SPACE'})
    await withFetchWay(gate, from, async (url) => {
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
        ...['--', url, ...specs],
      ]
      const {code, stderr} = await git.run(args, {directory: repository.directory, allowHttp: true})
      // The address holds a nonce: what git says about it is not repeated.
      if (code !== 0) throw gitFailed(['fetch'], code, stderr.replaceAll(url, '<upstream>'))
    })
  }

  async #readRefs(repository: Repository): Promise<Refs> {
    const refs = await this.#parts.repositories.refs(repository)
    this.#own.set(repository.name, refs)
    return refs
  }

  async #setRefs({directory, format}: Repository, changed: ReadonlyMap<string, string>): Promise<void> {
    const zero = zeroId(format)
    const input = [...changed]
      .map(([ref, id]) => (id === zero ? `delete ${ref}\0\0` : `update ${ref}\0${id}\0\0`))
      .join('')
    await this.#parts.git.ok(['update-ref', '--no-deref', '--stdin', '-z'], {directory, input})
  }
}

function withChanges(refs: Refs, changed: ReadonlyMap<string, string>, zero: string): Refs {
  return new Map([...refs, ...changed].filter(([, id]) => id !== zero))
}

/** Names whose object is another now; zeros = the name is gone. */
function differences(before: Refs, now: Refs, zero: string): Map<string, string> {
  const changed = new Map([...now].filter(([ref, id]) => before.get(ref) !== id))
  for (const ref of before.keys()) if (!now.has(ref)) changed.set(ref, zero)
  return changed
}
