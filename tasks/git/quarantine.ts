import {copyFile, link, mkdtemp, readdir, readFile, rename, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError} from '../../core/errors.js'
import type {CommandResult} from '../../core/runner.js'
import {isObjectId} from '../../policy/ref-name.js'
import type {FarEnd} from './far-end.js'
import {
  gitFailure,
  gitOutput,
  localGit,
  ownGit,
  type GitArgs,
  type GitOptions,
  type LocalRepository,
} from './git-command.js'
import {withRelay} from './relay.js'

/**
 * Every finding of fsck is an error, warnings too (`index-pack --strict`); only the mode spelling of very old git
 * versions is let through, which every git reads. Packs stay packs, so that handing over is moving files.
 */
const SETTINGS = [
  'fetch.fsckObjects=true',
  'fetch.fsck.zeroPaddedFilemode=ignore',
  'fetch.unpackLimit=1',
  'fetch.recurseSubmodules=false',
  'fetch.writeCommitGraph=false',
  'protocol.version=2',
  'maintenance.auto=false',
]

export interface Receipt {
  /** `.keep` files that protect the new packs until a ref points at them; the caller removes them */
  keeps: string[]
}

interface Stores {
  objects: string
  shallow: string
  format: string
}

export interface ReceiveOptions {
  /** what git says while it receives, band 2 of the far end among it; not filtered */
  onMessage?: (chunk: Buffer) => void
  signal?: AbortSignal
  /** no progress, only the far end's own words */
  quiet?: boolean
}

/** Received and checked objects that nothing of the person's points at. */
export interface Quarantine {
  /** git on the received and the person's objects, under cage's own configuration only */
  git(args: GitArgs, options?: GitOptions): Promise<CommandResult>
  /** moves the objects into the person's store */
  handOver(): Promise<Receipt>
}

/**
 * Brings objects home: received and checked in a repository of cage's own that nothing points at, then moved into the
 * person's object store. No ref of theirs is written, nothing of theirs is executed.
 * @param oids commits to have afterwards, all of them advertised as branches
 */
export function receive(
  local: LocalRepository,
  farEnd: FarEnd,
  oids: readonly string[],
  options: ReceiveOptions = {},
): Promise<Receipt> {
  return withQuarantine(local, farEnd, oids, options, (quarantine) => quarantine.handOver())
}

/** As `receive`, with `work` to look at the objects while they are in quarantine; it is gone afterwards. */
export async function withQuarantine<T>(
  local: LocalRepository,
  farEnd: FarEnd,
  oids: readonly string[],
  options: ReceiveOptions,
  work: (quarantine: Quarantine) => Promise<T>,
): Promise<T> {
  const wanted = [...new Set(oids)]
  for (const oid of wanted)
    if (!isObjectId(oid)) throw new CageError(`"${oid}" is no object id`, {code: 'GIT_OBJECT_ID'})
  const stores = await storesOf(local)
  const directory = await mkdtemp(join(stores.objects, 'tmp_objdir-cage-'))
  const git: Quarantine['git'] = (args, gitOptions = {}) =>
    ownGit(local.runner, directory, local.env['PATH'] ?? '/usr/bin:/bin', args, {
      ...gitOptions,
      settings: SETTINGS,
      alternates: stores.objects,
    })
  try {
    await prepare(local, git, stores, directory)
    if (wanted.length > 0) await fetchInto(git, farEnd, wanted, options)
    return await work({git, handOver: async () => ({keeps: await handOver(directory, stores.objects)})})
  } finally {
    await rm(directory, {force: true, recursive: true})
  }
}

async function storesOf(local: LocalRepository): Promise<Stores> {
  const result = await localGit(local, [
    'rev-parse',
    '--path-format=absolute',
    '--git-path',
    'objects',
    '--git-path',
    'shallow',
    '--show-object-format',
  ])
  const [objects = '', shallow = '', format = ''] = gitOutput('read the repository', result).split('\n')
  return {objects, shallow, format}
}

async function prepare(
  local: LocalRepository,
  git: Quarantine['git'],
  stores: Stores,
  directory: string,
): Promise<void> {
  const init = ['init', '--quiet', '--bare', '--template=', `--object-format=${stores.format}`] as const
  gitOutput('prepare a quarantine', await git(init))
  // What the person has need not be sent again: their refs are known here under neutral names.
  const known = await knownCommits(local)
  const lines = known.map((oid, index) => `${oid} refs/have/${index}`).sort(byRefName)
  await writeFile(join(directory, 'packed-refs'), ['# pack-refs with: sorted ', ...lines, ''].join('\n'))
  const shallow = await readFile(stores.shallow).catch(() => undefined)
  if (shallow) await writeFile(join(directory, 'shallow'), shallow)
}

const byRefName = (a: string, b: string) => {
  const [left = '', right = ''] = [a, b].map((line) => line.slice(line.indexOf(' ') + 1))
  return left < right ? -1 : 1
}

async function knownCommits(local: LocalRepository): Promise<string[]> {
  const refs = gitOutput(
    'list the refs of the repository',
    await localGit(local, ['for-each-ref', '--format=%(objectname)']),
  )
  const unique = [...new Set(refs.split('\n').filter((oid) => isObjectId(oid)))]
  if (unique.length === 0) return []
  const checked = gitOutput(
    'read the refs of the repository',
    await localGit(local, ['cat-file', '--batch-check=%(objectname) %(objecttype)'], {
      input: unique.join('\n') + '\n',
    }),
  )
  return checked
    .split('\n')
    .filter((line) => line.endsWith(' commit') || line.endsWith(' tag'))
    .map((line) => line.slice(0, line.indexOf(' ')))
}

async function fetchInto(
  git: Quarantine['git'],
  farEnd: FarEnd,
  oids: readonly string[],
  {onMessage, signal, quiet}: ReceiveOptions,
): Promise<void> {
  await withRelay(
    farEnd,
    'upload-pack',
    async (relay) => {
      const result = await git(
        [
          'fetch',
          '--no-tags',
          '--no-write-fetch-head',
          '--no-auto-maintenance',
          quiet === false ? '--progress' : '--quiet',
          `--upload-pack=${relay.command}`,
          '/cage',
          ...oids.map((oid, index) => `${oid}:refs/cage/${index}`),
        ],
        {...(signal ? {signal} : {}), ...(onMessage ? {onStderr: onMessage} : {})},
      )
      if (result.code !== 0) throw relay.failure() ?? refused(farEnd, result)
    },
    signal,
  )
  const checked = await git(['cat-file', '--batch-check=%(objecttype)'], {input: `${oids.join('\n')}\n`})
  const types = gitOutput('check what was received', checked).trim().split('\n')
  if (types.some((type) => type !== 'commit'))
    throw new CageError('a branch does not point at a commit: nothing was taken over', {
      code: 'GIT_QUARANTINE',
    })
}

function refused(farEnd: FarEnd, result: CommandResult): CageError {
  const {message} = gitFailure(`take over what ${farEnd.name} sent`, result)
  return new CageError(message, {
    code: 'GIT_QUARANTINE',
    hints: ['Nothing was written to your repository.'],
  })
}

/** Moves packs into the person's object store; the index last, because it makes the pack visible. */
async function handOver(quarantine: string, objects: string): Promise<string[]> {
  const from = join(quarantine, 'objects', 'pack')
  const to = join(objects, 'pack')
  const files = await readdir(from)
  const keeps: string[] = []
  for (const pack of files.filter((name) => /^pack-[0-9a-f]+\.pack$/.test(name))) {
    const base = pack.slice(0, -'.pack'.length)
    const keep = join(to, `${base}.keep`)
    try {
      await writeFile(keep, 'cage: until a branch points here\n', {flag: 'wx', mode: 0o444})
      keeps.push(keep)
    } catch (error) {
      // Somebody else protects a pack of that very content: theirs stays.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    for (const suffix of ['.pack', '.rev', '.idx'])
      if (files.includes(base + suffix)) await moveFile(join(from, base + suffix), join(to, base + suffix))
  }
  return keeps
}

async function moveFile(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    const {code} = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    // Not every file system has hard links.
    await copyFile(from, `${to}.cage-tmp`)
    await rename(`${to}.cage-tmp`, to)
  }
}
