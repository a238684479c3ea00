import {createReadStream} from 'node:fs'
import {readFile, stat} from 'node:fs/promises'
import {join, relative} from 'node:path'
import {pipeline} from 'node:stream/promises'
import {Transform} from 'node:stream'
import {CageError} from '../../core/errors.js'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import {built, type BuildCache} from '../build-cache.js'
import {output} from '../transport/output.js'
import type {Transport} from '../transport/transport.js'
import type {MachineWork} from './machine.js'

export interface LayerArchive {
  /** SHA-256 of the file, hex: the layer's name on a server */
  sum: string
  file: string
}

/** The layers of a node as compressed archives, made once on a computer; topmost first. All is root's, whoever built it. */
export async function layerArchives(
  runner: Runner,
  layers: readonly string[],
  cache: BuildCache,
): Promise<LayerArchive[]> {
  const directory = await built(
    {
      name: 'layers',
      inputs: [],
      facts: layers.map((layer) => relative(cache.directory, layer)),
      build: async (out) => {
        const script = `set -euo pipefail; out=$1; shift; mkdir "$out"
          for layer in "$@"; do
            tar -C "$layer" --sort=name --numeric-owner --owner=0 --group=0 -c . | gzip -6 >"$out/new"
            sum=$(sha256sum <"$out/new" | cut -d' ' -f1)
            mv "$out/new" "$out/$sum.tar.gz"
            echo "$sum" >>"$out/sums"
          done`
        cache.detail('compressing what a node starts from')
        await runOk(runner, {argv: ['bash', '-c', script, 'bash', out, ...layers], signal: cache.signal})
      },
    },
    cache,
  )
  const sums = (await readFile(join(directory, 'sums'), 'utf8')).trim().split('\n')
  return sums.map((sum) => ({sum, file: join(directory, `${sum}.tar.gz`)}))
}

/** Runs `layers.sh` of a server with these arguments. */
export type LayersScript = (...args: string[]) => readonly [string, ...string[]]

/**
 * Brings to a server what it does not have: an archive that was cut off goes on where it stopped, and becomes a layer only
 * when its checksum is right. Errors: LAYER_NOT_COPIED.
 */
export async function copyLayers(
  transport: Transport,
  script: LayersScript,
  archives: readonly LayerArchive[],
  work: MachineWork,
): Promise<void> {
  const {signal, detail} = work
  const told = await output(transport, {argv: script('want', ...archives.map(({sum}) => sum)), signal})
  const there = new Map(
    told
      .trim()
      .split('\n')
      .map((line) => line.split(' ') as [string, string]),
  )
  for (const [index, {sum, file}] of archives.entries()) {
    const have = there.get(sum)
    if (have === 'complete') continue
    const {size} = await stat(file)
    const offset = Math.min(Number(have ?? 0), size)
    const name = `copying layer ${index + 1} of ${archives.length}`
    const command = await transport.start({argv: script('append', sum, String(offset)), signal})
    let said = ''
    command.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2048)))
    command.stdout.resume()
    const counted = counter((bytes) =>
      detail(`${name}: ${megabytes(offset + bytes)} of ${megabytes(size)} MB`),
    )
    await pipeline(createReadStream(file, {start: offset}), counted, command.stdin).catch(() => undefined)
    if ((await command.exit) !== 0) {
      throw new CageError(`${name} failed${said ? `: ${said.trim()}` : ''}`, {
        code: 'LAYER_NOT_COPIED',
        hints: ['Check the free space of the server, then run `cage up` again: it goes on where it stopped.'],
      })
    }
    detail(`unpacking layer ${index + 1} of ${archives.length}`)
    await output(transport, {argv: script('unpack', sum), signal})
  }
}

function counter(tell: (bytes: number) => void): Transform {
  let bytes = 0
  let shown = -1
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (megabytes(bytes) !== shown) tell(bytes)
      shown = megabytes(bytes)
      done(null, chunk)
    },
  })
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6)
}
