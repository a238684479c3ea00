import {createHash} from 'node:crypto'
import {mkdir, readdir, readFile, rename, rm, stat} from 'node:fs/promises'
import {join} from 'node:path'
import type {Clock} from '../core/clock.js'
import {CageError} from '../core/errors.js'
import {takeLock, type Lock} from './state/lock.js'

export interface BuildRequest {
  /** of the result's directory, e.g. `kubernetes` */
  name: string
  /** files and directories whose content decides the result */
  inputs: readonly string[]
  /** other facts that decide it, e.g. a compiler's version */
  facts: readonly string[]
  /** makes the directory; beside it is room for drafts, which are removed afterwards */
  build(directory: string): Promise<void>
}

export interface BuildCache {
  /** `$XDG_CACHE_HOME/cage` */
  directory: string
  clock: Clock
  signal: AbortSignal
  detail: (text: string) => void
}

/** The directory of what was built from these inputs: built once on a computer, for all projects. */
export async function built(request: BuildRequest, cache: BuildCache): Promise<string> {
  const directory = join(
    cache.directory,
    `${request.name}-${await contentHash(request.inputs, request.facts)}`,
  )
  if (await isThere(directory)) return directory
  await mkdir(cache.directory, {recursive: true, mode: 0o700})
  const lock = await waitForLock(`${directory}.lock`, request.name, cache)
  try {
    if (!(await isThere(directory))) await buildAside(request, directory)
  } finally {
    await lock.release()
  }
  return directory
}

/** What a build that was cut off left behind is thrown away; the result appears under its name only when it is complete. */
async function buildAside(request: BuildRequest, directory: string): Promise<void> {
  const aside = `${directory}.build`
  await rm(aside, {recursive: true, force: true})
  await mkdir(aside, {mode: 0o755})
  try {
    await request.build(join(aside, 'result'))
    await rename(join(aside, 'result'), directory)
  } finally {
    await rm(aside, {recursive: true, force: true})
  }
}

/** Where the result of a request is, or will be. */
export async function resultDirectory(request: BuildRequest, cacheDirectory: string): Promise<string> {
  return join(cacheDirectory, `${request.name}-${await contentHash(request.inputs, request.facts)}`)
}

async function waitForLock(path: string, name: string, cache: BuildCache): Promise<Lock> {
  for (;;) {
    try {
      return await takeLock(path, `build ${name}`)
    } catch (cause) {
      if (!(cause instanceof CageError) || cause.code !== 'PROJECT_BUSY') throw cause
      cache.detail(`another cage builds ${name}; waiting for it`)
      await cache.clock.sleep(1000, cache.signal)
    }
  }
}

/** 16 hex digits over names and contents. Names count from the input given, so that a moved checkout keeps its cache. */
export async function contentHash(inputs: readonly string[], facts: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const fact of facts) hash.update(`fact ${fact}\n`)
  for (const input of inputs) await addContent(hash, input, '')
  return hash.digest('hex').slice(0, 16)
}

async function addContent(hash: ReturnType<typeof createHash>, path: string, name: string): Promise<void> {
  const facts = await stat(path)
  if (facts.isDirectory()) {
    for (const entry of (await readdir(path)).sort())
      await addContent(hash, join(path, entry), `${name}/${entry}`)
    return
  }
  const content = await readFile(path)
  hash.update(`file ${name} ${facts.mode & 0o111 ? 'x' : '-'} ${content.length}\n`)
  hash.update(content)
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}
