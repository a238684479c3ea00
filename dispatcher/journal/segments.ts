import {open, readdir, type FileHandle} from 'node:fs/promises'
import {join} from 'node:path'

/** Numbers of the segments that are there, oldest first. */
export async function segmentsOf(directory: string): Promise<number[]> {
  const names = await readdir(directory)
  return names
    .filter((name) => /^\d{6}\.jsonl$/.test(name))
    .map((name) => Number(name.slice(0, 6)))
    .sort((a, b) => a - b)
}

export function pathOf(directory: string, segment: number): string {
  return join(directory, `${String(segment).padStart(6, '0')}.jsonl`)
}

/** All of them opened at once: one that is removed meanwhile is still read to its end. The caller closes the files. */
export async function openSegments(directory: string): Promise<{segment: number; file: FileHandle}[]> {
  const opened: {segment: number; file: FileHandle}[] = []
  for (const segment of await segmentsOf(directory)) {
    try {
      opened.push({segment, file: await open(pathOf(directory, segment), 'r')})
    } catch (error) {
      // The oldest was just removed; the chain says so further on.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || opened.length > 0) throw error
    }
  }
  return opened
}
