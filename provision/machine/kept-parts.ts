import {stat} from 'node:fs/promises'
import {CageError} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import type {BuildCache} from '../build-cache.js'
import {readIfThere, writePrivate} from '../state/files.js'
import {nodeParts, type NodeParts} from './local-build.js'

/**
 * What a node starts from, remembered in `file`. A cluster keeps its Kubernetes: a newer cage brings a newer one only to
 * new machines. Errors: MACHINE_TOO_OLD when what it was made with is gone.
 */
export async function keptParts(
  file: string,
  {runner, packageRoot, cache}: {runner: Runner; packageRoot: string; cache: BuildCache},
): Promise<NodeParts> {
  const kept = await readIfThere(file)
  const old = kept === undefined ? undefined : (JSON.parse(kept) as NodeParts)
  const parts = await nodeParts(runner, packageRoot, cache)
  if (old && old.versions['kubernetes'] !== parts.versions['kubernetes']) {
    const there = await Promise.all(
      [...old.layers, old.images].map((path) => stat(path).catch(() => undefined)),
    )
    if (!there.includes(undefined)) return old
    throw new CageError(
      `this machine was made with Kubernetes ${old.versions['kubernetes'] ?? ''}, which is not in the cache any more`,
      {
        code: 'MACHINE_TOO_OLD',
        hints: ['Run `cage destroy` and `cage up`; push or fetch the work of its tasks before.'],
      },
    )
  }
  await writePrivate(file, `${JSON.stringify(parts, undefined, 2)}\n`)
  return parts
}
