import {closeSync, fchmodSync, fsyncSync, openSync, renameSync, writeFileSync} from 'node:fs'

/** Readers see the old file or the whole new one. The mode is exact, whatever the umask. */
export function writeAtomically(path: string, content: string | Buffer, mode: number): void {
  const temporary = `${path}.new`
  const file = openSync(temporary, 'w', mode)
  try {
    fchmodSync(file, mode)
    writeFileSync(file, content)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
}
