import {chmod, mkdir, rename, rm, stat} from 'node:fs/promises'
import {join} from 'node:path'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'

const GIB = 1024 ** 3

interface Disk {
  file: string
  /** bytes */
  size: number
  /** space taken at once, so that it is there when the computer's disk is full */
  reserved: boolean
}

/**
 * A node has three disks, so that none can fill another: the cluster's memory, everything that runs, and the tasks' volumes.
 * `total` is what the project may use, in bytes. All but the first are sparse: they take what is written.
 */
export function disks(total: number): Disk[] {
  const system = Math.max(12 * GIB, Math.floor(total / 3))
  return [
    {file: 'etcd.img', size: GIB, reserved: true},
    {file: 'disk.img', size: system, reserved: false},
    {file: 'volumes.img', size: Math.max(10 * GIB, total - system), reserved: false},
  ]
}

/** Makes the disks that are missing; a disk that exists is left as it is. */
export async function createDisks(runner: Runner, directory: string, total: number): Promise<void> {
  await mkdir(join(directory, 'stage'), {recursive: true, mode: 0o700})
  for (const disk of disks(total)) {
    const path = join(directory, disk.file)
    if ((await stat(path).catch(() => undefined)) !== undefined) continue
    const draft = `${path}.new`
    await rm(draft, {force: true})
    await runOk(runner, {argv: ['truncate', '--size', String(disk.size), draft]})
    await chmod(draft, 0o600)
    if (disk.reserved)
      await runOk(runner, {argv: ['fallocate', '--posix', '--length', String(disk.size), draft]})
    const lazy = 'lazy_itable_init=1,lazy_journal_init=1,nodiscard'
    await runOk(runner, {argv: ['mkfs.ext4', '-q', '-F', '-m', '0', '-E', lazy, draft]})
    await rename(draft, path)
  }
}
