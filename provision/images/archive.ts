import {createHash} from 'node:crypto'
import type {Architecture} from './description.js'
import {epoch, type ImagePlan} from './plan.js'
import {tar, type TarEntry} from './tar.js'

/** A layer that lies in the cache as an uncompressed tar. */
export interface BuiltLayer {
  path: string
  /** lower-case hex SHA-256 of the tar */
  sha256: string
  /** bytes */
  size: number
}

/** Part of an OCI archive: `digest` as in `sha256:…`, `size` in bytes. */
interface Descriptor {
  mediaType: string
  digest: string
  size: number
}

interface Blob {
  descriptor: Descriptor
  content: Buffer
}

export interface ImageArchive {
  /** bytes of the layers that travel */
  size: number
  /** the archive, in pieces; the same inputs give the same bytes */
  bytes: AsyncGenerator<Buffer>
}

/**
 * The image as an OCI archive, which `ctr images import` reads (image-spec 1.1, image-layout).
 * Layers whose digest is in `present` stay out: the machine has them from another image.
 */
export function ociArchive(
  image: Pick<ImagePlan, 'reference' | 'config'>,
  layers: readonly BuiltLayer[],
  architecture: Architecture,
  present: ReadonlySet<string>,
): ImageArchive {
  const {config, manifest} = imageDocuments(image, layers, architecture)
  const annotations = {'io.containerd.image.name': image.reference}
  const index = {schemaVersion: 2, manifests: [{...manifest.descriptor, annotations}]}
  const travelling = layers.filter((layer) => !present.has(digestOf(layer)))
  const entries: TarEntry[] = [
    json('oci-layout', {imageLayoutVersion: '1.0.0'}),
    json('index.json', index),
    blobEntry(config),
    blobEntry(manifest),
    ...travelling.map((layer): TarEntry => {
      return {kind: 'copy', path: blobPath(digestOf(layer)), mode: 0o644, from: layer.path, size: layer.size}
    }),
  ]
  return {size: travelling.reduce((sum, {size}) => sum + size, 0), bytes: tar(entries, epoch)}
}

/** Configuration and manifest of an image (image-spec 1.1); the same inputs give the same bytes. */
export function imageDocuments(
  image: Pick<ImagePlan, 'config'>,
  layers: readonly BuiltLayer[],
  architecture: Architecture,
): {config: Blob; manifest: Blob} {
  const config = blob('application/vnd.oci.image.config.v1+json', {
    architecture,
    os: 'linux',
    created: new Date(epoch * 1000).toISOString(),
    config: image.config,
    rootfs: {type: 'layers', diff_ids: layers.map(digestOf)},
    history: layers.map(() => ({created_by: 'cage'})),
  })
  const manifest = blob('application/vnd.oci.image.manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: config.descriptor,
    layers: layers.map((layer): Descriptor => {
      return {mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(layer), size: layer.size}
    }),
  })
  return {config, manifest}
}

export const digestOf = ({sha256}: BuiltLayer) => `sha256:${sha256}`
const blobPath = (digest: string) => `blobs/${digest.replace(':', '/')}`

function json(path: string, value: object): TarEntry {
  return {kind: 'file', path, mode: 0o644, content: Buffer.from(JSON.stringify(value))}
}

function blob(mediaType: string, value: object): Blob {
  const content = Buffer.from(JSON.stringify(value))
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`
  return {descriptor: {mediaType, digest, size: content.length}, content}
}

function blobEntry({descriptor, content}: Blob): TarEntry {
  return {kind: 'file', path: blobPath(descriptor.digest), mode: 0o644, content}
}
