import {statfs} from 'node:fs/promises'

const FLOOR_BYTES = 64 * 1024 * 1024
const FLOOR_SHARE = 0.05

/** Whether a volume has so little left that the journal and refs need it. */
export async function isNearlyFull(path: string): Promise<boolean> {
  const {bavail, blocks, bsize} = await statfs(path)
  return bavail * bsize < Math.min(FLOOR_BYTES, blocks * bsize * FLOOR_SHARE)
}
