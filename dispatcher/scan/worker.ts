import {createHash, createHmac} from 'node:crypto'
import {parentPort, workerData} from 'node:worker_threads'
import {createScanner} from '../../scan/scanner.js'
import {wholeValue} from '../../scan/whole-value.js'
import type {Finding, ScanJob, ScanReply, ScanWorkerData} from './messages.js'

/** The body of a scan thread: one job after the other, no state between them. */
export function runScanWorker(): void {
  const port = parentPort
  if (!port) throw new Error('the scan worker runs as a thread only')
  const {fingerprintKey, issued} = workerData as ScanWorkerData
  const scanner = createScanner({fingerprints: issued})
  port.on('message', (job: ScanJob) => {
    let start = 0
    const findings = job.ends.map((end) => {
      const text = Buffer.from(job.bytes.buffer, job.bytes.byteOffset + start, end - start)
      start = end
      const result = scanner.scan(text)
      if (result.overBudget || result.truncated) return undefined
      const lineAt = lineCounter(text)
      return result.findings.map(({rule, kind, offset, length}): Finding => {
        const value = wholeValue(text, offset, length)
        const fingerprint = createHmac('sha256', fingerprintKey).update(value).digest('hex').slice(0, 16)
        const sha256 = createHash('sha256').update(value).digest('hex')
        return {rule, kind, line: lineAt(offset), length, fingerprint, sha256}
      })
    })
    const {id, bytes} = job
    port.postMessage({id, findings, bytes} satisfies ScanReply, [bytes.buffer as ArrayBuffer])
  })
}

/** Goes on where the last question ended: a text with many findings is walked about once. */
function lineCounter(text: Buffer): (offset: number) => number {
  let [line, from] = [1, 0]
  return (offset) => {
    if (offset < from) [line, from] = [1, 0]
    for (let at = text.indexOf(0x0a, from); at >= 0 && at < offset; at = text.indexOf(0x0a, from)) {
      line++
      from = at + 1
    }
    return line
  }
}
