import {readFile} from 'node:fs/promises'
import {join} from 'node:path'

export const imageNames = ['agent', 'proxy', 'dispatcher'] as const
export type ImageName = (typeof imageNames)[number]
export type Architecture = 'amd64' | 'arm64'

/** A file or folder of an npm package; `{cpu}` in `from` is npm's name of the processor. Paths are relative to the root. */
export interface NpmPart {
  /** below node_modules */
  from: string
  to: string
  /** paths below `from` that stay out */
  except?: string[]
}

/** A program compiled from a Go module that is pinned in this checkout. */
export interface GoProgram {
  /** folder with go.mod and go.sum, below the package root */
  module: string
  package: string
  /** variable of the program that holds its version */
  versionVariable: string
  to: string
  /** only for projects with this kind of upstream: others have no use for it, and a compile takes minutes */
  upstream: UpstreamKind
}

export type UpstreamKind = 'hosted' | 'git' | 'github'

/** One image of images/images.json. Paths in the image are relative to its root. */
export interface ImageDescription {
  /** file with one Debian package per line, below the package root; `#` begins a comment */
  packages: string
  users: {name: string; uid: number; home: string}[]
  npm: NpmPart[]
  go: GoProgram[]
  /** `from` below the package root, `mode` in octal */
  files: {from: string; to: string; mode: string}[]
  /** path → target */
  links: Record<string, string>
  /** mount points, mode 0755 */
  directories: string[]
  /** as in the image configuration */
  config: {User: string; WorkingDir: string; Entrypoint: string[]; Env: string[]}
}

export interface ImagesDescription {
  /** packages of every image: what Node needs */
  debian: string[]
  /** in every image, below everything else, so that the layer is stored once */
  node: NpmPart[]
  images: Record<ImageName, ImageDescription>
}

/** Folder of the npm package.json and lock, below the package root. */
export const npmFolder = 'images/agent'

/** `root` is the package root: the folder that holds `images` and `dist`. */
export async function describeImages(root: string): Promise<ImagesDescription> {
  return JSON.parse(await readFile(join(root, 'images/images.json'), 'utf8')) as ImagesDescription
}

/** Names of Debian packages in a list, sorted. */
export function packageNames(list: string): string[] {
  const names = list.split('\n').map((line) => line.replace(/#.*/, '').trim())
  return [...new Set(names)].filter((name) => name !== '').sort()
}

export function npmCpu(architecture: Architecture): string {
  return architecture === 'amd64' ? 'x64' : 'arm64'
}
