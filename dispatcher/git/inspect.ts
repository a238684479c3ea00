import type {PathChange, PathDecision} from '../../policy/decide-git.js'
import type {RunningCommand} from '../../core/runner.js'
import type {ScanPool} from '../scan/pool.js'
import {quoted} from '../wire/text.js'
import type {GitPlace, GitPrograms} from './children.js'
import {ContentScan, objectHead, type Found, type ObjectHead} from './content.js'
import {recordsOf, write} from './lines.js'
import {PathJudge} from './paths.js'
import {missingObjects, PushRefused, tookTooLong, type Problem} from './problem.js'
import type {Refs, Repository} from './repositories.js'

export interface InspectionRules {
  objects: number
  commits: number
  blobBytes: number
  /** absent = paths are not judged */
  decidePath?: (change: PathChange) => PathDecision
  /** `all` = every new object, however large; otherwise as many as fit into the milliseconds, smaller ones only */
  scan: 'all' | {milliseconds: number; blobBytes: number}
}

/** One new tip and the name it is for. */
export interface Tip {
  ref: string
  object: string
}

export interface Inspection {
  problems: Problem[]
  found: Found[]
  /** that were found and not kept: nobody can say what they are */
  unkept: number
  flagged: string[]
  commits: string[]
  objects: number
  blobBytes: number
  /** new objects that the scanner did not see; 0 with `scan: 'all'` */
  unscanned: number
  /** of the new commits, as far as they were read */
  parents: ReadonlySet<string>
  /** of each of them, the addresses of author and committer */
  people: ReadonlyMap<string, ReadonlySet<string>>
}

export interface InspectionWork {
  git: GitPrograms
  scan: ScanPool
  repository: Repository
  quarantine: string
  tips: readonly Tip[]
  /** what is in the repository already */
  known: Refs
  rules: InspectionRules
  signal: AbortSignal
  onProgress: (objects: number) => void
}

const FORMAT = '%(objectname) %(objecttype) %(objectsize) %(rest)'
const MAX_SIZE_PROBLEMS = 20
/** a folder that moves changes two paths for each file, and needs one new object */
const CHANGES_PER_OBJECT = 4
const newline = Buffer.from('\n')

/**
 * Looks at exactly the objects that the new tips reach and the repository's refs do not: whether all are there, how
 * many and how large they are, what they change and what they contain. Programs of git in a chain, nothing is held as
 * a whole: one lists, one reads; where not everything is read, one between them says what things are.
 * @throws PushRefused on missing objects, exceeded limits, or content that could not be judged
 */
export async function inspect(work: InspectionWork): Promise<Inspection> {
  const stop = new AbortController()
  const signal = AbortSignal.any([work.signal, stop.signal])
  try {
    return await new Inspector(work, signal).run()
  } catch (error) {
    if (work.signal.aborted) {
      throw new PushRefused([tookTooLong], error)
    }
    throw error
  } finally {
    stop.abort()
  }
}

class Inspector {
  readonly #work: InspectionWork
  readonly #walk: RunningCommand
  readonly #contents: RunningCommand
  /** absent when all contents are read anyway, which says the same */
  readonly #types: RunningCommand | undefined
  readonly #content: ContentScan
  readonly #paths: PathJudge | undefined
  readonly #tips: Tip[]
  readonly #problems: Problem[] = []
  readonly #commits: string[] = []
  readonly #scanUntil: number
  #objects = 0
  #blobBytes = 0
  #unscanned = 0

  constructor(work: InspectionWork, signal: AbortSignal) {
    const {git, repository, quarantine, rules} = work
    const place: GitPlace = {directory: repository.directory, quarantine}
    const start = (...args: string[]) => {
      const child = git.start(args, place, signal)
      child.stderr.resume()
      return child
    }
    this.#work = work
    this.#tips = [...work.tips]
    this.#walk = start('rev-list', '--objects', '--stdin')
    this.#contents = start('cat-file', `--batch=${FORMAT}`, '--buffer')
    if (rules.scan !== 'all') this.#types = start('cat-file', `--batch-check=${FORMAT}`, '--buffer')
    this.#content = new ContentScan(work.scan, repository.format)
    const {decidePath: decide} = rules
    const limit = CHANGES_PER_OBJECT * rules.objects
    this.#paths = decide ? new PathJudge(git, place, {decide, limit}, signal) : undefined
    this.#scanUntil = rules.scan === 'all' ? Infinity : Date.now() + rules.scan.milliseconds
  }

  async run(): Promise<Inspection> {
    const types = this.#types
    const read = (wants: (head: ObjectHead) => boolean | Promise<boolean>) =>
      this.#content.read(this.#contents.stdout, wants)
    await (types
      ? Promise.all([this.#list(types), this.#choose(types, this.#contents), read(() => true)])
      : Promise.all([this.#list(this.#contents), read((head) => this.#judge(head))]))
    if ((types && (await types.exit) !== 0) || (await this.#contents.exit) !== 0)
      throw new Error('git cat-file failed')
    const paths = (await this.#paths?.verdict()) ?? {problems: [], flagged: []}
    return {
      problems: [...this.#problems, ...paths.problems],
      found: this.#content.found,
      unkept: this.#content.unkept,
      flagged: paths.flagged,
      commits: this.#commits,
      objects: this.#objects,
      blobBytes: this.#blobBytes,
      unscanned: this.#unscanned,
      parents: this.#content.parents,
      people: this.#content.people,
    }
  }

  /** The tips, then every new object with its path, to the next program. */
  async #list({stdin}: RunningCommand): Promise<void> {
    const {tips, known, rules} = this.#work
    for (const {object} of tips) await write(stdin, `${object}\n`)
    for (const {object} of tips) await write(this.#walk.stdin, `${object}\n`)
    for (const object of new Set(known.values())) await write(this.#walk.stdin, `^${object}\n`)
    this.#walk.stdin.end()
    for await (const line of recordsOf(this.#walk.stdout)) {
      if (++this.#objects > rules.objects) throw tooMany('objects', rules.objects, 'limits.objects')
      await write(stdin, Buffer.concat([line, newline]))
      if (this.#objects % 1000 === 0) this.#work.onProgress(this.#objects)
    }
    if ((await this.#walk.exit) !== 0) throw new PushRefused([missingObjects])
    stdin.end()
  }

  /** Has only those read that are to be scanned. */
  async #choose({stdout}: RunningCommand, {stdin}: RunningCommand): Promise<void> {
    for await (const line of recordsOf(stdout)) {
      const head = objectHead(line)
      if (await this.#judge(head)) await write(stdin, `${head.object} ${head.path}\n`)
    }
    stdin.end()
  }

  /** What is to be known of an object before its content. @returns whether that is scanned */
  async #judge(head: ObjectHead): Promise<boolean> {
    const {rules} = this.#work
    const {type, object, size, path} = head
    const tip = this.#tips.shift()
    if (tip) {
      this.#judgeTip(tip, type)
      return false
    }
    if (type === 'commit') {
      this.#commits.push(object)
      if (this.#commits.length > rules.commits) throw tooMany('commits', rules.commits, 'limits.commits')
      await this.#paths?.commit(object)
    }
    if (type === 'blob') this.#blobBytes += size
    if (type === 'blob' && size > rules.blobBytes) {
      this.#unscanned++
      if (this.#problems.length < MAX_SIZE_PROBLEMS)
        this.#problems.push(tooLarge(path, size, rules.blobBytes))
      return false
    }
    const scanned = !this.#skipsScan(type, size)
    if (!scanned && type !== 'tree') this.#unscanned++
    return scanned
  }

  #judgeTip({ref}: Tip, type: string): void {
    if (type === 'commit' || (ref.startsWith('refs/tags/') && type === 'tag')) return
    this.#problems.push({
      class: 'ref',
      message: `a branch must point to a commit, not to a ${type}`,
      short: 'does not point to a commit',
      ruleId: 'git.type',
      ref,
    })
  }

  #skipsScan(type: string, size: number): boolean {
    const {scan} = this.#work.rules
    if (scan === 'all') return false
    return type === 'tree' || size > scan.blobBytes || Date.now() > this.#scanUntil
  }
}

function tooMany(what: string, limit: number, ruleId: string): PushRefused {
  return new PushRefused([
    {class: 'size', message: `more than ${limit} new ${what} in one push`, short: `too many ${what}`, ruleId},
  ])
}

function tooLarge(path: string, size: number, limit: number): Problem {
  return {
    class: 'size',
    message: `${quoted(path)} has ${size} bytes; the limit is ${limit}`,
    short: 'file exceeds the size limit',
    ruleId: 'limits.blobBytes',
  }
}
