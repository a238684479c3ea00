import {createHash} from 'node:crypto'
import {createWriteStream} from 'node:fs'
import {mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {Transform} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import type {Runner} from '../../core/runner.js'
import type {StepTools} from '../pipeline.js'
import {readIfThere} from '../state/files.js'
import type {Transport} from '../transport/transport.js'
import type {BuiltLayer} from './archive.js'
import {buildDebianLayer} from './debian.js'
import type {Architecture} from './description.js'
import {goEntries} from './go.js'
import {npmEntries, stageNpm} from './npm.js'
import {epoch, type LayerPlan, type LayerSource} from './plan.js'
import {tar} from './tar.js'

const UNUSED_DAYS = 60
const DAY_MS = 86_400_000
const draftPrefix = '.build-'

export interface LayerTools {
  /** the package root */
  root: string
  /** folder for layers of all projects of this computer, made when missing */
  cache: string
  architecture: Architecture
  runner: Runner
  /** where Debian packages are installed, as root */
  transport: Transport
  /** folder there for what is being built, on disk and not in memory */
  buildFolder: string
  work: StepTools
}

/** The layers of the plans by key; what is not in the cache is built and kept there. */
export async function provideLayers(
  wanted: readonly LayerPlan[],
  tools: LayerTools,
): Promise<ReadonlyMap<string, BuiltLayer>> {
  await mkdir(tools.cache, {recursive: true, mode: 0o700})
  const unique = [...new Map(wanted.map((layer) => [layer.key, layer])).values()]
  const found = await Promise.all(unique.map(({key}) => cachedLayer(tools.cache, key)))
  const missing = unique.filter((_, index) => found[index] === undefined)
  if (missing.length > 0) await buildAll(missing, tools)
  const layers = await Promise.all(unique.map(({key}) => cachedLayer(tools.cache, key)))
  return new Map(unique.flatMap(({key}, index) => (layers[index] ? [[key, layers[index]] as const] : [])))
}

/** True when nothing of the plans would have to be built. */
export async function haveLayers(wanted: readonly LayerPlan[], cache: string): Promise<boolean> {
  const found = await Promise.all(wanted.map(({key}) => cachedLayer(cache, key)))
  return !found.includes(undefined)
}

async function buildAll(missing: readonly LayerPlan[], tools: LayerTools): Promise<void> {
  const needsNpm = missing.some(({source}) => source.kind === 'npm')
  const draft = await mkdtemp(join(tools.cache, draftPrefix))
  try {
    const staged = needsNpm ? stageNpm(draft, tools) : Promise.resolve('')
    // Debian in the machine and npm on this computer share nothing: both at once. All are awaited, so that nothing writes after the clean-up.
    const results = await Promise.allSettled(missing.map((layer) => build(layer, staged, draft, tools)))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  } finally {
    await rm(draft, {recursive: true, force: true})
  }
}

async function build(
  layer: LayerPlan,
  staged: Promise<string>,
  draft: string,
  tools: LayerTools,
): Promise<void> {
  const path = join(draft, `${layer.key}.tar`)
  const bytes = await content(layer, staged, draft, tools)
  const sum = createHash('sha256')
  let size = 0
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sum.update(chunk)
      size += chunk.length
      done(null, chunk)
    },
  })
  await pipeline(bytes, count, createWriteStream(path), {signal: tools.work.signal})
  const facts = {sha256: sum.digest('hex'), size}
  await rename(path, tarPath(tools.cache, layer.key))
  await writeFile(join(draft, `${layer.key}.json`), JSON.stringify(facts))
  await rename(join(draft, `${layer.key}.json`), factsPath(tools.cache, layer.key))
}

async function content(
  {key, source}: {key: string; source: LayerSource},
  staged: Promise<string>,
  draft: string,
  tools: LayerTools,
): Promise<AsyncIterable<Buffer>> {
  switch (source.kind) {
    case 'files':
      return tar(source.entries, epoch)
    case 'npm':
      return tar(await npmEntries(await staged, source.parts), epoch)
    case 'go':
      return tar(await goEntries(draft, source.programs, tools), epoch)
    case 'debian':
      return buildDebianLayer(key, source, tools)
  }
}

const tarPath = (cache: string, key: string) => join(cache, `${key}.tar`)
const factsPath = (cache: string, key: string) => join(cache, `${key}.json`)

async function cachedLayer(cache: string, key: string): Promise<BuiltLayer | undefined> {
  const text = await readIfThere(factsPath(cache, key))
  if (text === undefined) return undefined
  const {sha256, size} = JSON.parse(text) as {sha256: string; size: number}
  const path = tarPath(cache, key)
  const there = await stat(path).catch(() => undefined)
  return there?.size === size ? {path, sha256, size} : undefined
}

/** Marks what is in use, and removes layers that no `up` has asked for in 60 days. `now` in milliseconds. */
export async function tidyCache(cache: string, inUse: Iterable<string>, now: number): Promise<void> {
  const used = new Set(inUse)
  for (const key of used) await utimes(factsPath(cache, key), now / 1000, now / 1000).catch(() => undefined)
  for (const name of await readdir(cache)) {
    if (name.startsWith(draftPrefix)) await removeAbandoned(join(cache, name), now)
    const key = name.replace(/\.json$/, '')
    if (key === name || used.has(key)) continue
    const facts = await stat(factsPath(cache, key)).catch(() => undefined)
    if (facts === undefined || now - facts.mtimeMs < UNUSED_DAYS * DAY_MS) continue
    await rm(factsPath(cache, key), {force: true})
    await rm(tarPath(cache, key), {force: true})
  }
}

/** What a killed `cage` left; a build never takes a day. */
async function removeAbandoned(draft: string, now: number): Promise<void> {
  const facts = await stat(draft).catch(() => undefined)
  if (facts !== undefined && now - facts.mtimeMs > DAY_MS) await rm(draft, {recursive: true, force: true})
}
