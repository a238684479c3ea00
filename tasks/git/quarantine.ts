import {copyFile, link, mkdtemp, readdir, readFile, rename, rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError} from '../../core/errors.js'
import {isObjectId} from '../../policy/ref-name.js'
import type {FarEnd} from './far-end.js'
import {gitFailure, gitOutput, localGit, ownGit, type LocalRepository} from './git-command.js'
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

/**
 * Brings objects home: received and checked in a repository of cage's own that nothing points at, then moved into the
 * person's object store. No ref of theirs is written, nothing of theirs is executed.
 * @param oids commits to have afterwards, all of them advertised as branches
 */
export async function receive(
  local: LocalRepository,
  farEnd: FarEnd,
  oids: readonly string[],
  options: {onMessage?: (chunk: Buffer) => void; signal?: AbortSignal; quiet?: boolean} = {},
): Promise<Receipt> {
  const wanted = [...new Set(oids)]
  for (const oid of wanted)
    if (!isObjectId(oid)) throw new CageError(`"${oid}" is no object id`, {code: 'GIT_OBJECT_ID'})
  if (wanted.length === 0) return {keeps: []}
  const stores = await storesOf(local)
  const quarantine = await mkdtemp(join(stores.objects, 'tmp_objdir-cage-'))
  try {
    await prepare(local, stores, quarantine)
    await fetchInto(local, farEnd, stores, quarantine, wanted, options)
    return {keeps: await handOver(quarantine, stores.objects)}
  } finally {
    await rm(quarantine, {force: true, recursive: true})
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

async function prepare(local: LocalRepository, stores: Stores, quarantine: string): Promise<void> {
  const path = local.env['PATH'] ?? '/usr/bin:/bin'
  gitOutput(
    'prepare a quarantine',
    await ownGit(local.runner, quarantine, path, [
      'init',
      '--quiet',
      '--bare',
      '--template=',
      `--object-format=${stores.format}`,
    ]),
  )
  // What the person has need not be sent again: their refs are known here under neutral names.
  const known = await knownCommits(local)
  const lines = known.map((oid, index) => `${oid} refs/have/${index}`).sort(byRefName)
  await writeFile(join(quarantine, 'packed-refs'), ['# pack-refs with: sorted ', ...lines, ''].join('\n'))
  const shallow = await readFile(stores.shallow).catch(() => undefined)
  if (shallow) await writeFile(join(quarantine, 'shallow'), shallow)
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
  local: LocalRepository,
  farEnd: FarEnd,
  stores: Stores,
  quarantine: string,
  oids: readonly string[],
  options: {onMessage?: (chunk: Buffer) => void; signal?: AbortSignal; quiet?: boolean},
): Promise<void> {
  const path = local.env['PATH'] ?? '/usr/bin:/bin'
  const own = {settings: SETTINGS, alternates: stores.objects}
  await withRelay(
    farEnd,
    'upload-pack',
    async (relay) => {
      const result = await ownGit(
        local.runner,
        quarantine,
        path,
        [
          'fetch',
          '--no-tags',
          '--no-write-fetch-head',
          '--no-auto-maintenance',
          options.quiet === false ? '--progress' : '--quiet',
          `--upload-pack=${relay.command}`,
          '/cage',
          ...oids.map((oid, index) => `${oid}:refs/cage/${index}`),
        ],
        {
          ...own,
          ...(options.signal ? {signal: options.signal} : {}),
          ...(options.onMessage ? {onStderr: options.onMessage} : {}),
        },
      )
      if (result.code !== 0) throw relay.failure() ?? refused(farEnd, result)
    },
    options.signal,
  )
  const types = gitOutput(
    'check what was received',
    await ownGit(local.runner, quarantine, path, ['cat-file', '--batch-check=%(objecttype)'], {
      ...own,
      input: oids.join('\n') + '\n',
    }),
  )
  if (
    types
      .trim()
      .split('\n')
      .some((type) => type !== 'commit')
  )
    throw new CageError('a branch does not point at a commit: nothing was taken over', {
      code: 'GIT_QUARANTINE',
    })
}

function refused(farEnd: FarEnd, result: Parameters<typeof gitFailure>[1]): CageError {
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
