import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdir} from 'node:fs/promises'

export interface BigRepository {
  /** commits on `main`; default 4000 */
  commits?: number
  /** different files touched over the history; default 400 */
  files?: number
  /** fictional authors taking turns; default 7 */
  authors?: number
  /** a merged side branch every this many commits; default 25, 0 = none */
  mergeEvery?: number
}

/**
 * Makes a repository of several thousand commits in `directory` by one `git fast-import`, in a second or two, with
 * `main` checked out. The same options give the same commit ids.
 */
export async function bigRepository(directory: string, options: BigRepository = {}): Promise<void> {
  await mkdir(directory, {recursive: true})
  await git(directory, ['init', '--quiet', '--initial-branch=main'])
  await git(directory, ['fast-import', '--quiet'], history(options))
  await git(directory, ['reset', '--quiet', '--hard', 'main'])
}

/** The fast-import stream, commit by commit. */
function* history(options: BigRepository): Generator<string> {
  const {commits = 4000, files = 400, authors = 7, mergeEvery = 25} = options
  let time = 1_600_000_000
  let side: number | undefined
  for (let n = 1; n <= commits; n += 1) {
    time += 3600
    const author = `Author ${n % authors} <author${n % authors}@example.invalid> ${time} +0000`
    const isSide = mergeEvery > 0 && n > 2 && n % mergeEvery === 1
    const parent = side !== undefined ? n - 2 : n - 1
    yield `commit ${isSide ? 'refs/heads/side' : 'refs/heads/main'}\nmark :${n}\nauthor ${author}\ncommitter ${author}\n`
    yield data(`Change ${n}\n\nThe reason of change ${n}, in words that differ from commit to commit.\n`)
    // A side commit forks from the commit before it; the next commit on main merges it.
    if (n > 1) yield `from :${isSide ? n - 1 : parent}\n`
    if (side !== undefined) yield `merge :${side}\n`
    const file = `src/room${n % 20}/file${n % files}.txt`
    yield `M 100644 inline ${file}\n${data(body(n))}`
    side = isSide ? n : undefined
  }
  if (mergeEvery > 0) yield 'reset refs/heads/side\nfrom 0000000000000000000000000000000000000000\n'
  yield 'done\n'
}

/** Some 40 lines that compress like source text. */
function body(n: number): string {
  const lines = Array.from(
    {length: 40},
    (_, line) => `line ${line} of the file, value ${(n * 7919 + line * 104729) % 100003}`,
  )
  return `${lines.join('\n')}\n`
}

function data(text: string): string {
  return `data ${Buffer.byteLength(text)}\n${text}\n`
}

async function git(cwd: string, args: readonly string[], input: Iterable<string> = []): Promise<void> {
  const child = spawn('git', args, {cwd, stdio: ['pipe', 'ignore', 'pipe']})
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  child.stdin.on('error', () => undefined)
  const closed = once(child, 'close')
  for (const text of input)
    if (!child.stdin.write(text)) await Promise.race([once(child.stdin, 'drain'), closed])
  child.stdin.end()
  const [code] = (await closed) as [number | null]
  if (code !== 0) throw new Error(`git ${args.join(' ')} exited with ${String(code)}\n${errors}`)
}
