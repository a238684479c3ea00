import {stat} from 'node:fs/promises'
import {join} from 'node:path'
import {contentHash} from '../build-cache.js'
import {planImages} from '../images/plan.js'
import {nodePartNames} from './local-build.js'

/** What decides a base image, and can be known without making it. */
export interface BaseInputs {
  driver: 'lima' | 'vagrant'
  /** the person's own disk image or box */
  image?: string
}

/** Scripts that shape what is on a base's disk. */
const scripts = ['layers.sh', 'disks.sh', 'init.sh'].map((name) => `node/${name}`)

/**
 * The name of the base image for these inputs, `base-<16 hex>`: another image, Kubernetes, layer or script gives another name.
 * Undefined when the person's own image is not there.
 */
export async function baseName(
  {driver, image}: BaseInputs,
  {packageRoot, cacheHome}: {packageRoot: string; cacheHome: string},
): Promise<string | undefined> {
  const own = image === undefined ? [] : [image, await shape(image)]
  if (own.includes(undefined)) return undefined
  const parts = await nodePartNames(packageRoot, join(cacheHome, 'cage'))
  const images = await planImages(packageRoot, process.arch === 'arm64' ? 'arm64' : 'amd64', 'hosted')
  const template = driver === 'lima' ? 'lima/cage.yaml' : 'Vagrantfile'
  const files = [template, ...[...scripts, 'vm/seal.sh'].map((name) => `provision/guest/${name}`)]
  const references = images.map(({reference}) => reference)
  const facts = [driver, process.arch, ...parts, ...references, ...own.map(String)]
  return `base-${await contentHash(
    files.map((file) => join(packageRoot, file)),
    facts,
  )}`
}

async function shape(file: string): Promise<string | undefined> {
  const found = await stat(file).catch(() => undefined)
  return found && `${found.size} ${found.mtimeMs}`
}
