import {flagsOf, scriptsDiffer, type ReviewFlag} from '../../policy/review.js'
import {gitOutput} from './git-command.js'
import type {Quarantine} from './quarantine.js'

export interface ChangedFile {
  path: string
  /** lines; null for binary files */
  added: number | null
  removed: number | null
  /** bytes after the change; null when it is gone or another repository */
  size: number | null
  /** why a reviewer must look at it */
  flags: ReviewFlag[]
}

/** a description of a package that is longer is flagged unread */
const MAX_DESCRIPTION = 1024 * 1024
const MAX_DESCRIPTIONS = 200

/** One change as `git diff --raw` shows it. */
interface RawChange {
  oldMode: string
  mode: string
  oldId: string
  id: string
}

/** The files between two trees. @param diff the diff command with its options */
export async function changedFiles(
  quarantine: Quarantine,
  diff: readonly [string, ...string[]],
  range: readonly [string, string],
): Promise<ChangedFile[]> {
  const output = async (...options: string[]) =>
    gitOutput('list the changed files', await quarantine.git([...diff, ...options, '-z', ...range]))
  const raw = parseRaw(await output('--raw', '--no-abbrev'))
  const sizes = await sizesOf(quarantine, [...raw.values()])
  let descriptions = 0
  const files: ChangedFile[] = []
  for (const {path, added, removed} of parseCounts(await output('--numstat'))) {
    const change = raw.get(path)
    if (!change) throw new Error('git shows two different lists of changed files')
    const {oldMode, mode, oldId, id} = change
    let flags = flagsOf({path, oldMode, mode, binary: added === null})
    if (flags.includes('scripts') && ++descriptions <= MAX_DESCRIPTIONS) {
      const texts = [textOf(quarantine, sizes, oldId), textOf(quarantine, sizes, id)] as const
      const [before, after] = await Promise.all(texts)
      if (before !== undefined && after !== undefined && !scriptsDiffer(before, after))
        flags = flags.filter((flag) => flag !== 'scripts')
    }
    files.push({path, added, removed, size: sizes.get(id) ?? null, flags})
  }
  return files
}

/** `:OLDMODE MODE OLDID ID STATUS NUL PATH NUL` */
function parseRaw(text: string): Map<string, RawChange> {
  const fields = text.split('\0')
  const changes = new Map<string, RawChange>()
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const [oldMode = '', mode = '', oldId = '', id = ''] = (fields[at] ?? '').slice(1).split(' ')
    changes.set(fields[at + 1] ?? '', {oldMode, mode, oldId, id})
  }
  return changes
}

/** `ADDED TAB REMOVED TAB PATH NUL`, dashes for binary files */
function parseCounts(text: string): Pick<ChangedFile, 'path' | 'added' | 'removed'>[] {
  return text
    .split('\0')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [added = '', removed = '', ...path] = entry.split('\t')
      return {path: path.join('\t'), added: count(added), removed: count(removed)}
    })
}

function count(text: string): number | null {
  return text === '-' ? null : Number(text)
}

/** Bytes by object id; submodules and what is not there have none. */
async function sizesOf(quarantine: Quarantine, changes: readonly RawChange[]): Promise<Map<string, number>> {
  const ids = changes.flatMap(({oldMode, oldId, mode, id}) => [
    ...(isFile(oldMode) ? [oldId] : []),
    ...(isFile(mode) ? [id] : []),
  ])
  if (ids.length === 0) return new Map()
  const format = '--batch-check=%(objectname) %(objectsize)'
  const result = await quarantine.git(['cat-file', format], {input: `${[...new Set(ids)].join('\n')}\n`})
  return new Map(
    gitOutput('measure the changed files', result)
      .split('\n')
      .filter((line) => /^[0-9a-f]+ \d+$/.test(line))
      .map((line) => [line.slice(0, line.indexOf(' ')), Number(line.slice(line.indexOf(' ') + 1))]),
  )
}

function isFile(mode: string): boolean {
  return mode !== '160000' && mode !== '000000'
}

/** '' when it is not there, undefined when it is too long to be looked into. */
async function textOf(
  quarantine: Quarantine,
  sizes: ReadonlyMap<string, number>,
  id: string,
): Promise<string | undefined> {
  const size = sizes.get(id)
  if (size === undefined) return ''
  if (size > MAX_DESCRIPTION) return undefined
  return gitOutput('read a changed file', await quarantine.git(['cat-file', 'blob', id]))
}
