import {createHash} from 'node:crypto'
import {tar, type TarEntry} from './tar.js'
import {epoch, type ImagePlan} from './plan.js'
import type {Architecture} from './description.js'

/** A layer that lies in the cache as an uncompressed tar. */
export interface BuiltLayer {
  path: string
  /** lower-case hex SHA-256 of the tar */
  sha256: string
  /** bytes */
  size: number
}

/** The image as a docker-archive (what `ctr images import` reads), in pieces; the same inputs give the same bytes. */
export function dockerArchive(
  image: Pick<ImagePlan, 'reference' | 'config'>,
  layers: readonly BuiltLayer[],
  architecture: Architecture,
): AsyncGenerator<Buffer> {
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      created: new Date(epoch * 1000).toISOString(),
      config: image.config,
      rootfs: {type: 'layers', diff_ids: layers.map(({sha256}) => `sha256:${sha256}`)},
      history: layers.map(() => ({created_by: 'cage'})),
    }),
  )
  const configName = `${createHash('sha256').update(config).digest('hex')}.json`
  const layerName = ({sha256}: BuiltLayer) => `${sha256}/layer.tar`
  const manifest = [{Config: configName, RepoTags: [image.reference], Layers: layers.map(layerName)}]
  const entries: TarEntry[] = [
    {kind: 'file', path: 'manifest.json', mode: 0o644, content: Buffer.from(JSON.stringify(manifest))},
    {kind: 'file', path: configName, mode: 0o644, content: config},
    ...layers.map((layer): TarEntry => {
      return {kind: 'copy', path: layerName(layer), mode: 0o644, from: layer.path, size: layer.size}
    }),
  ]
  return tar(entries, epoch)
}
