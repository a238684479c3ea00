import {open} from 'node:fs/promises'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {ledgerFile} from '../../core/layout.js'
import {parseRecord} from './record.js'

const CHUNK = 256 * 1024
const POLL_MS = 300

export interface ReadOptions {
  /** records at or after this moment, milliseconds since the epoch */
  since?: number
  /** wait for more instead of ending */
  follow?: boolean
  signal?: AbortSignal
}

/** The lines of the ledger, whole ones only, unchanged, so that a reader can check the chain. */
export async function* readLedger(directory: string, options: ReadOptions = {}): AsyncGenerator<string> {
  const handle = await open(join(directory, ledgerFile), 'r')
  try {
    const chunk = Buffer.alloc(CHUNK)
    let rest = Buffer.alloc(0)
    for (let position = 0; !options.signal?.aborted;) {
      const {bytesRead} = await handle.read(chunk, 0, CHUNK, position)
      if (bytesRead === 0) {
        if (!options.follow) return
        await sleep(POLL_MS, undefined, options.signal ? {signal: options.signal} : {}).catch(() => undefined)
        continue
      }
      position += bytesRead
      const bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)])
      const end = bytes.lastIndexOf(10) + 1
      rest = Buffer.from(bytes.subarray(end))
      for (const line of bytes.toString('utf8', 0, Math.max(0, end - 1)).split('\n'))
        if (line !== '' && isWanted(line, options.since)) yield line
    }
  } finally {
    await handle.close()
  }
}

function isWanted(line: string, since: number | undefined): boolean {
  if (since === undefined) return true
  const record = parseRecord(line)
  return record !== undefined && Date.parse(record.time) >= since
}
