import {mkdir, open, rename, rm, statfs} from 'node:fs/promises'
import {dirname, join} from 'node:path'

const FLOOR_BYTES = 64 * 1024 * 1024
const FLOOR_SHARE = 0.05

/** What is in a directory becomes durable: a new or renamed file in it survives a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** Replaces a file as a whole: a reader, also after a crash, sees the old content or the new. */
export async function writeFileDurably(path: string, content: string | Buffer): Promise<void> {
  await mkdir(dirname(path), {recursive: true, mode: 0o700})
  const draft = join(dirname(path), `.draft-${process.pid}-${Math.random().toString(36).slice(2)}`)
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
  } catch (error) {
    await rm(draft, {force: true})
    throw error
  }
  await syncDirectory(dirname(path))
}

/** Whether a volume has so little left that the journal and refs need it. */
export async function isNearlyFull(path: string): Promise<boolean> {
  const {bavail, blocks, bsize} = await statfs(path)
  return bavail * bsize < Math.min(FLOOR_BYTES, blocks * bsize * FLOOR_SHARE)
}
