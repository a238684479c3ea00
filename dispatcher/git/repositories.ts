import {mkdir, readFile, readdir, rename, rm} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {CageError, ExitCode} from '../../core/errors.js'
import {branchProblem} from '../../policy/branch.js'
import {knownName} from '../socket-api.js'
import type {ObjectFormat} from '../wire/receive-request.js'
import type {GitPrograms} from './children.js'
import {syncDirectory, writeDurably} from '../../core/durable-file.js'
import {SharedLock} from './locks.js'

export interface Repository {
  /** `shop.git` */
  name: string
  /** absolute path of the bare repository */
  directory: string
  format: ObjectFormat
  /** held shared by whoever relies on objects that no ref may hold any more */
  lock: SharedLock
}

/** Whether it is a copy of an upstream: those are named by address. */
export function isMirror({name}: Pick<Repository, 'name'>): boolean {
  return name.includes('/')
}

/** Branches and tags: name → object id. */
export type Refs = ReadonlyMap<string, string>

/** The bare repositories on the volume; only this side writes their configuration. */
export class RepositoryStore {
  readonly #volume: string
  readonly #git: GitPrograms
  readonly #open = new Map<string, Repository>()

  /** @param volume `repositories/` has what people and tasks share, `mirrors/` the copies of upstreams */
  constructor(volume: string, git: GitPrograms) {
    this.#volume = volume
    this.#git = git
  }

  /** Makes it, or sets the default branch of one that exists. */
  async init(
    text: string,
    defaultBranch: string,
    format?: ObjectFormat,
  ): Promise<{repository: Repository; created: boolean}> {
    const name = knownName(text)
    if (name === undefined) throw usage(`"${text}" is not a repository name`, 'REPOSITORY_NAME')
    const problem = branchProblem(defaultBranch)
    if (problem) throw usage(`the default branch ${problem}`, 'REPOSITORY_BRANCH')
    const head = `refs/heads/${defaultBranch}`
    const existing = await this.find(name)
    if (existing) {
      if (format && format !== existing.format)
        throw usage(`${name} uses ${existing.format} object ids`, 'REPOSITORY_FORMAT')
      await this.#git.ok(['symbolic-ref', 'HEAD', head], {directory: existing.directory})
      return {repository: existing, created: false}
    }
    const place = this.#placeOf(name)
    const root = dirname(place)
    await mkdir(root, {recursive: true, mode: 0o700})
    const draft = join(root, `.draft-${Math.random().toString(36).slice(2)}`)
    const chosen = format ?? 'sha1'
    await this.#git.ok(['init', '--quiet', '--bare', '--template=', `--object-format=${chosen}`, draft])
    await writeDurably(join(draft, 'config'), configuration(chosen))
    await this.#git.ok(['symbolic-ref', 'HEAD', head], {directory: draft})
    await rename(draft, place)
    await syncDirectory(root)
    const repository = await this.find(name)
    if (!repository) throw new CageError(`${name} was not made`, {code: 'REPOSITORY_FAILED'})
    return {repository, created: true}
  }

  async find(text: string): Promise<Repository | undefined> {
    const name = knownName(text)
    if (name === undefined) return undefined
    const known = this.#open.get(name)
    if (known) return known
    const directory = this.#placeOf(name)
    let config: string
    try {
      config = await readFile(join(directory, 'config'), 'utf8')
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw cause
    }
    const format: ObjectFormat = /objectformat\s*=\s*sha256/i.test(config) ? 'sha256' : 'sha1'
    if (config !== configuration(format)) await writeDurably(join(directory, 'config'), configuration(format))
    const repository = {name, directory, format, lock: new SharedLock()}
    this.#open.set(name, this.#open.get(name) ?? repository)
    return this.#open.get(name)
  }

  async list(): Promise<Repository[]> {
    const names = [
      ...(await namesIn(join(this.#volume, 'repositories'))),
      ...(await namesIn(join(this.#volume, 'mirrors')))
        .filter((name) => !name.startsWith('.'))
        .map(decodeURIComponent),
    ]
    const found = await Promise.all(names.sort().map((name) => this.find(name)))
    return found.filter((repository) => repository !== undefined)
  }

  /** What a crash left: drafts of repositories, half-written packs and locks of processes that are gone. */
  async clean(): Promise<void> {
    for (const root of [join(this.#volume, 'repositories'), join(this.#volume, 'mirrors')])
      for (const name of await namesIn(root))
        if (name.startsWith('.draft-')) await rm(join(root, name), {recursive: true, force: true})
    for (const {directory} of await this.list()) {
      await cleanPacks(join(directory, 'objects', 'pack'))
      for (const name of ['HEAD.lock', 'config.lock', 'packed-refs.lock'])
        await rm(join(directory, name), {force: true})
      const refs = join(directory, 'refs')
      for (const name of await namesIn(refs, true))
        if (name.endsWith('.lock')) await rm(join(refs, name), {force: true})
    }
  }

  /** A name with slashes is one folder, not many. */
  #placeOf(name: string): string {
    return name.includes('/')
      ? join(this.#volume, 'mirrors', encodeURIComponent(name))
      : join(this.#volume, 'repositories', name)
  }

  /** @param below folders of refs; branches and tags when absent */
  async refs(repository: Repository, below: readonly string[] = ['refs/heads', 'refs/tags']): Promise<Refs> {
    const text = await this.#git.ok(['for-each-ref', '--format=%(objectname) %(refname)', ...below], {
      directory: repository.directory,
    })
    return new Map(
      text
        .split('\n')
        .filter(Boolean)
        .map((line) => [line.slice(line.indexOf(' ') + 1), line.slice(0, line.indexOf(' '))]),
    )
  }

  async defaultRef(repository: Repository): Promise<string> {
    return (await this.#git.ok(['symbolic-ref', 'HEAD'], {directory: repository.directory})).trim()
  }
}

async function namesIn(directory: string, recursive = false): Promise<string[]> {
  try {
    return await readdir(directory, {recursive})
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** A pack without index is not part of the repository; the index is written last. */
async function cleanPacks(directory: string): Promise<void> {
  const names = await namesIn(directory)
  for (const name of names) {
    const stem = /^(pack-[0-9a-f]+)\.(pack|rev|mtimes)$/.exec(name)?.[1]
    if (name.startsWith('tmp_') || (stem !== undefined && !names.includes(`${stem}.idx`)))
      await rm(join(directory, name), {force: true})
  }
}

function usage(message: string, code: string): CageError {
  return new CageError(message, {code, exitCode: ExitCode.usage})
}

/** The whole configuration of a repository: durable writes, no hooks, no automatic gc, no way out. */
function configuration(format: ObjectFormat): string {
  return `[core]
	repositoryformatversion = ${format === 'sha1' ? 0 : 1}
	filemode = true
	bare = true
	hooksPath = /nonexistent
	useReplaceRefs = false
	fsync = all
	logAllRefUpdates = false
	filesRefLockTimeout = 2000
	packedRefsTimeout = 5000
${format === 'sha256' ? '[extensions]\n\tobjectformat = sha256\n' : ''}[gc]
	auto = 0
[maintenance]
	auto = false
[transfer]
	fsckObjects = true
	advertiseSID = false
[protocol]
	allow = never
[pack]
	threads = 2
	windowMemory = 256m
[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
	advertiseBundleURIs = false
[uploadpackfilter]
	allow = false
[uploadpackfilter "blob:none"]
	allow = true
[uploadpackfilter "blob:limit"]
	allow = true
[uploadpackfilter "combine"]
	allow = true
[uploadpackfilter "tree"]
	allow = true
[uploadpackfilter "object:type"]
	allow = true
`
}
