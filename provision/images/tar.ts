import {createReadStream} from 'node:fs'
import {CageError} from '../../core/errors.js'

/** One member of a tar. Owners are numeric ids, `mode` the permission bits. */
export type TarEntry = {path: string; owner?: number} & (
  | {kind: 'directory'; mode: number}
  | {kind: 'link'; target: string}
  | {kind: 'file'; mode: number; content: Buffer}
  | {kind: 'copy'; mode: number; from: string; size: number}
)

const BLOCK = 512

/**
 * A POSIX ustar archive, in pieces. The same entries give the same bytes: sorted by path, one time for all.
 * Paths are relative; one that does not fit ustar (100 bytes, or 155 + `/` + 100) is an error, never cut.
 */
export async function* tar(entries: readonly TarEntry[], epoch: number): AsyncGenerator<Buffer> {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  for (const entry of sorted) {
    const size = sizeOf(entry)
    yield header(entry, size, epoch)
    if (entry.kind === 'file') yield entry.content
    if (entry.kind === 'copy') yield* exactly(entry.from, entry.size)
    if (size % BLOCK > 0) yield Buffer.alloc(BLOCK - (size % BLOCK))
  }
  yield Buffer.alloc(2 * BLOCK)
}

function sizeOf(entry: TarEntry): number {
  if (entry.kind === 'file') return entry.content.length
  return entry.kind === 'copy' ? entry.size : 0
}

/** The header has promised a size: a file that changed meanwhile must not shift what follows. */
async function* exactly(path: string, size: number): AsyncGenerator<Buffer> {
  let seen = 0
  for await (const chunk of createReadStream(path)) {
    seen += (chunk as Buffer).length
    if (seen > size) break
    yield chunk as Buffer
  }
  if (seen !== size) {
    throw new CageError(`${path} changed while it was packed`, {
      code: 'IMAGE_INPUT_CHANGED',
      hints: ['Run the same command again.'],
    })
  }
}

function header(entry: TarEntry, size: number, epoch: number): Buffer {
  const block = Buffer.alloc(BLOCK)
  const text = (value: string, at: number) => block.write(value, at, 'utf8')
  const octal = (value: number, at: number, width: number) =>
    text(value.toString(8).padStart(width - 1, '0') + '\0', at)
  const {name, prefix} = split(entry.kind === 'directory' ? `${entry.path}/` : entry.path)
  text(name, 0)
  octal(entry.kind === 'link' ? 0o777 : entry.mode, 100, 8)
  octal(entry.owner ?? 0, 108, 8)
  octal(entry.owner ?? 0, 116, 8)
  octal(size, 124, 12)
  octal(epoch, 136, 12)
  text(' '.repeat(8), 148)
  text(entry.kind === 'directory' ? '5' : entry.kind === 'link' ? '2' : '0', 156)
  if (entry.kind === 'link') text(fitting(entry.target, entry.path), 157)
  text('ustar\x0000', 257)
  text(prefix, 345)
  const sum = block.reduce((total, byte) => total + byte, 0)
  text(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

function split(path: string): {name: string; prefix: string} {
  if (Buffer.byteLength(path) <= 100) return {name: path, prefix: ''}
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (name !== '' && Buffer.byteLength(prefix) <= 155 && Buffer.byteLength(name) <= 100)
      return {name, prefix}
  }
  throw tooLong(path)
}

function fitting(target: string, path: string): string {
  if (Buffer.byteLength(target) > 100) throw tooLong(path)
  return target
}

function tooLong(path: string): CageError {
  return new CageError(`the path is too long for an image layer: ${path}`, {code: 'IMAGE_PATH_TOO_LONG'})
}
