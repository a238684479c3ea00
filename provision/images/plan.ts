import {createHash} from 'node:crypto'
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode} from '../../core/errors.js'
import {
  describeImages,
  imageNames,
  npmCpu,
  npmFolder,
  packageNames,
  type Architecture,
  type GoProgram,
  type ImageDescription,
  type ImageName,
  type NpmPart,
  type UpstreamKind,
} from './description.js'
import type {TarEntry} from './tar.js'

/** What is made during a build, rather than taken from a package, carries this time: 2025-01-01, in seconds. */
export const epoch = 1735689600
/** Rises when the same inputs would be packed differently. */
const layout = 1

export type LayerSource =
  | {kind: 'npm'; parts: NpmPart[]}
  | {kind: 'debian'; packages: string[]; users: ImageDescription['users']}
  | {kind: 'go'; programs: (GoProgram & {version: string})[]}
  | {kind: 'files'; entries: TarEntry[]}

/** `key` names the inputs: the same key, the same bytes (Debian's own updates apart, which the layer records). */
export interface LayerPlan {
  key: string
  source: LayerSource
}

export interface ImagePlan {
  name: ImageName
  /** e.g. `cage.local/agent:5f3c…` */
  reference: string
  /** lowest first */
  layers: LayerPlan[]
  config: ImageDescription['config']
}

/** The guest scripts that build a Debian layer. */
export const buildScripts = ['build-image.sh', 'apt-settings.sh'] as const

/**
 * What the three images are made of, by content: quick, reads only files below the package root.
 * Errors: IMAGE_INPUT_MISSING when the bundles have not been built.
 */
export async function planImages(
  root: string,
  architecture: Architecture,
  upstream: UpstreamKind,
): Promise<ImagePlan[]> {
  const {debian: common, node, images} = await describeImages(root)
  const lock = await input(root, `${npmFolder}/package-lock.json`)
  const scripts = await Promise.all(buildScripts.map((name) => input(root, `provision/guest/${name}`)))
  const npmLayer = (parts: NpmPart[]): LayerPlan => ({
    key: hash('npm', architecture, lock, parts),
    source: {
      kind: 'npm',
      parts: parts.map((part) => ({...part, from: part.from.replace('{cpu}', npmCpu(architecture))})),
    },
  })
  return Promise.all(
    imageNames.map(async (name) => {
      const image = images[name]
      const packages = packageNames([...common, await input(root, image.packages)].join('\n'))
      const debian: LayerPlan = {
        key: hash('debian', architecture, ...scripts, packages, image.users),
        source: {kind: 'debian', packages, users: image.users},
      }
      const entries = await fileEntries(root, image)
      const files: LayerPlan = {
        key: hash('files', ...entries.flatMap(hashable)),
        source: {kind: 'files', entries},
      }
      const programs = image.go.filter((program) => program.upstream === upstream)
      const layers = [
        npmLayer(node),
        debian,
        ...(image.npm.length > 0 ? [npmLayer(image.npm)] : []),
        ...(programs.length > 0 ? [await goLayer(root, architecture, programs)] : []),
        files,
      ]
      const tag = hash(
        'image',
        architecture,
        layers.map(({key}) => key),
        image.config,
      ).slice(0, 16)
      return {name, reference: `cage.local/${name}:${tag}`, layers, config: image.config}
    }),
  )
}

/** The references under which `cage up` puts the images into the cluster. */
export async function imageReferences(
  root: string,
  architecture: Architecture,
  upstream: UpstreamKind,
): Promise<Record<ImageName, string>> {
  const plans = await planImages(root, architecture, upstream)
  return Object.fromEntries(plans.map(({name, reference}) => [name, reference])) as Record<ImageName, string>
}

async function goLayer(
  root: string,
  architecture: Architecture,
  programs: readonly GoProgram[],
): Promise<LayerPlan> {
  const pinned = await Promise.all(
    programs.map(async (program) => {
      const requirements = await input(root, `${program.module}/go.mod`)
      const sums = await input(root, `${program.module}/go.sum`)
      const path = program.package.replace(/\/cmd\/.*$/, '')
      const line = requirements
        .toString()
        .split('\n')
        .find((one) =>
          one
            .trim()
            .replace(/^require /, '')
            .startsWith(`${path} `),
        )
      return {
        program: {...program, version: / v(\S+)/.exec(line ?? '')?.[1] ?? ''},
        inputs: [requirements, sums],
      }
    }),
  )
  return {
    key: hash('go', architecture, ...pinned.flatMap(({program, inputs}) => [program, ...inputs])),
    source: {kind: 'go', programs: pinned.map(({program}) => program)},
  }
}

async function fileEntries(root: string, image: ImageDescription): Promise<TarEntry[]> {
  const files = image.files.map(async ({from, to, mode}): Promise<TarEntry> => {
    return {kind: 'file', path: to, mode: parseInt(mode, 8), content: await input(root, from)}
  })
  return [
    ...(await Promise.all(files)),
    ...Object.entries(image.links).map(([path, target]): TarEntry => ({kind: 'link', path, target})),
    ...image.directories.map((path): TarEntry => ({kind: 'directory', path, mode: 0o755})),
  ]
}

function hashable(entry: TarEntry): unknown[] {
  return entry.kind === 'file' ? [entry.path, entry.mode, entry.content] : [entry]
}

async function input(root: string, path: string): Promise<Buffer> {
  try {
    return await readFile(join(root, path))
  } catch (cause) {
    throw new CageError(`an input of the images is missing: ${path}`, {
      code: 'IMAGE_INPUT_MISSING',
      exitCode: ExitCode.precondition,
      hints: [
        path.startsWith('dist/') ? 'Run `npm run build` in the checkout of cage.' : 'Install cage again.',
      ],
      cause,
    })
  }
}

function hash(...parts: unknown[]): string {
  const sum = createHash('sha256').update(`${layout}`)
  for (const part of parts) {
    const bytes = Buffer.isBuffer(part) ? part : Buffer.from(JSON.stringify(part))
    sum.update(`\0${bytes.length}\0`).update(bytes)
  }
  return sum.digest('hex')
}
