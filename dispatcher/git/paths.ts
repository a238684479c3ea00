import type {PathChange, PathDecision} from '../../policy/decide-git.js'
import {quoted} from '../wire/text.js'
import type {GitPlace, GitPrograms} from './children.js'
import {recordsOf, write} from './lines.js'
import {PushRefused, type Problem} from './problem.js'

const MAX_SYMLINK = 4096
const MAX_PROBLEMS = 100
const MAX_FLAGGED = 1000
/** diff-tree holds all changes of a commit before it writes the first: folders in folders can make a billion of ten objects */
const MAX_MEMORY = 256 * 1024 * 1024

export interface PathVerdict {
  problems: Problem[]
  /** paths that a reviewer should see, each once; the first ones of many */
  flagged: string[]
}

/**
 * Judges every path that a new commit changes. Merges show what differs from all parents, so that taking over a side
 * is no finding and an evil merge is one.
 */
export class PathJudge {
  readonly #git: GitPrograms
  readonly #place: GitPlace
  readonly #decide: (change: PathChange) => PathDecision
  readonly #limit: number
  readonly #child
  readonly #reading: Promise<void>
  readonly #links = new Map<string, Set<string>>()
  readonly #denied = new Map<string, Problem>()
  readonly #flagged = new Set<string>()

  #changes = 0
  #stderr = ''

  /** @param limit how many changes of paths all commits together may have */
  constructor(
    git: GitPrograms,
    place: GitPlace,
    {decide, limit}: {decide: (change: PathChange) => PathDecision; limit: number},
    signal: AbortSignal,
  ) {
    this.#git = git
    this.#place = place
    this.#decide = decide
    this.#limit = limit
    this.#child = git.start(
      [
        'diff-tree',
        '--stdin',
        '-r',
        '-c',
        '--root',
        '--raw',
        '-z',
        '--no-renames',
        '--no-commit-id',
        '--no-abbrev',
      ],
      {...place, memory: MAX_MEMORY},
      signal,
    )
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#stderr = chunk.toString('latin1').slice(-1000)))
    this.#reading = this.#read()
    this.#reading.catch(() => undefined)
  }

  async commit(id: string): Promise<void> {
    await write(this.#child.stdin, `${id}\n`)
  }

  async verdict(): Promise<PathVerdict> {
    this.#child.stdin.end()
    await this.#reading
    const code = await this.#child.exit
    if (/out of memory|cannot allocate|mmap failed/i.test(this.#stderr)) throw this.#tooMany()
    if (code !== 0) throw new Error(`git diff-tree ended with ${code}`)
    await this.#judgeLinks()
    return {problems: [...this.#denied.values()], flagged: [...this.#flagged].sort()}
  }

  async #read(): Promise<void> {
    let change: {mode: string; id: string} | undefined
    for await (const record of recordsOf(this.#child.stdout, '\0')) {
      if (!change) change = parseRaw(record.toString('latin1'))
      else {
        this.#judge(record.toString('utf8'), change)
        change = undefined
      }
    }
    if (change) throw new Error('git diff-tree ended inside a change')
  }

  #tooMany(): PushRefused {
    const message = `more than ${this.#limit} changed paths in one push`
    return new PushRefused([
      {class: 'size', message, short: 'too many changed paths', ruleId: 'limits.objects'},
    ])
  }

  #judge(path: string, {mode, id}: {mode: string; id: string}): void {
    if (++this.#changes > this.#limit) throw this.#tooMany()
    if (mode === '120000') {
      const paths = this.#links.get(id) ?? new Set<string>()
      this.#links.set(id, paths.add(path))
    } else this.#decideOne({path, mode})
  }

  #decideOne(change: PathChange): void {
    const {effect, ruleId, reason} = this.#decide(change)
    if (effect === 'flag' && this.#flagged.size < MAX_FLAGGED) this.#flagged.add(change.path)
    if (effect !== 'deny' || this.#denied.size >= MAX_PROBLEMS) return
    this.#denied.set(`${ruleId} ${change.path}`, {
      class: 'path',
      message: `${quoted(change.path)}: ${reason}`,
      short: reason,
      ruleId,
    })
  }

  /** A link is judged by where it leads, so its content is read; one that is too long is judged without. */
  async #judgeLinks(): Promise<void> {
    if (this.#links.size === 0) return
    const ids = [...this.#links.keys()]
    const sizes = await this.#git.ok(['cat-file', '--batch-check=%(objectname) %(objectsize)'], {
      ...this.#place,
      input: `${ids.join('\n')}\n`,
    })
    const small = sizes
      .split('\n')
      .map((line) => line.split(' '))
      .filter(([, size]) => Number(size) <= MAX_SYMLINK)
      .map(([id]) => id ?? '')
      .filter(Boolean)
    const targets = await this.#targets(small)
    for (const [id, paths] of this.#links) {
      const target = targets.get(id)
      for (const path of paths)
        this.#decideOne({path, mode: '120000', ...(target === undefined ? {} : {target})})
    }
  }

  async #targets(ids: readonly string[]): Promise<Map<string, string>> {
    const targets = new Map<string, string>()
    if (ids.length === 0) return targets
    const {code, stdout} = await this.#git.run(['cat-file', '--batch=%(objectname) %(objectsize)'], {
      ...this.#place,
      input: `${ids.join('\n')}\n`,
    })
    if (code !== 0) throw new Error(`git cat-file ended with ${code}`)
    for (let at = 0; at < stdout.length;) {
      const end = stdout.indexOf(0x0a, at)
      const [id = '', size = ''] = stdout.toString('latin1', at, end).split(' ')
      targets.set(id, stdout.toString('utf8', end + 1, end + 1 + Number(size)))
      at = end + 1 + Number(size) + 1
    }
    return targets
  }
}

/** `:mode mode id id status`; a merge has one colon, mode and id more per parent; the last ones are those after it. */
function parseRaw(text: string): {mode: string; id: string} {
  const parents = /^:+/.exec(text)?.[0].length ?? 0
  const words = text.slice(parents).split(' ')
  const mode = words[parents]
  const id = words[2 * parents + 1]
  if (parents === 0 || mode === undefined || id === undefined)
    throw new Error('git diff-tree wrote an unknown line')
  return {mode, id}
}
