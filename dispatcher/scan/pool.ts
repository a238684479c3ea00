import {Worker} from 'node:worker_threads'
import type {Fingerprint} from '../../scan/exact.js'
import type {Finding, ScanJob, ScanReply, ScanWorkerData} from './messages.js'
import {Sheet, SHEET_BYTES} from './sheet.js'

/** Scans texts beside the main thread. */
export interface ScanPool {
  /**
   * @returns the findings of each text, in order
   * @throws ScanFailed when a text could not be judged: the caller must deny
   */
  scan(texts: readonly Uint8Array[]): Promise<Finding[][]>
  /** A sheet for texts that are read anyway; `bytes` is the length of the first one. */
  sheet(bytes: number): Sheet
  /** The same as `scan`; the sheet is gone then. */
  scanSheet(sheet: Sheet): Promise<Finding[][]>
  close(): Promise<void>
}

export class ScanFailed extends Error {
  override name = 'ScanFailed'
}

export interface ScanPoolOptions {
  /** module that runs `runScanWorker` in a thread */
  module: URL
  threads: number
  fingerprintKey: Buffer
  /** milliseconds that one job may take */
  deadline: (bytes: number) => number
}

const SHEETS_KEPT = 4

interface Pending {
  job: ScanJob
  resolve: (findings: Finding[][]) => void
  reject: (error: Error) => void
}

/** The pool over worker threads: a job that overruns its deadline or breaks its thread is denied, the thread replaced. */
export class ThreadScanPool implements ScanPool {
  readonly #options: ScanPoolOptions
  readonly #queue: Pending[] = []
  readonly #idle: Worker[] = []
  readonly #all = new Set<Worker>()
  /** memory that came back */
  readonly #sheets: ArrayBuffer[] = []
  /** threads that know the values of now; the others end with their job */
  #current = new Set<Worker>()
  #issued: readonly Fingerprint[] = []
  #jobs = 0
  #closed = false

  constructor(options: ScanPoolOptions) {
    this.#options = options
  }

  scan(texts: readonly Uint8Array[]): Promise<Finding[][]> {
    const sheet = new Sheet(new ArrayBuffer(texts.reduce((sum, text) => sum + text.length, 0)))
    for (const text of texts) sheet.room(text.length).set(text)
    return this.scanSheet(sheet)
  }

  sheet(bytes: number): Sheet {
    if (bytes > SHEET_BYTES) return new Sheet(new ArrayBuffer(bytes))
    return new Sheet(this.#sheets.pop() ?? new ArrayBuffer(SHEET_BYTES))
  }

  scanSheet({bytes, ends}: Sheet): Promise<Finding[][]> {
    return new Promise((resolve, reject) => {
      this.#queue.push({job: {id: ++this.#jobs, bytes, ends}, resolve, reject})
      this.#next()
    })
  }

  /** What every job that begins from now on looks for as well. */
  issue(issued: readonly Fingerprint[]): void {
    this.#issued = issued
    this.#current = new Set()
    for (const worker of this.#idle.splice(0)) this.#retire(worker)
  }

  #retire(worker: Worker): void {
    this.#all.delete(worker)
    void worker.terminate()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const {reject} of this.#queue.splice(0)) reject(new ScanFailed('the scanner is closed'))
    await Promise.all([...this.#all].map((worker) => worker.terminate()))
  }

  #next(): void {
    if (this.#closed) return
    const worker = this.#idle.pop() ?? (this.#all.size < this.#options.threads ? this.#spawn() : undefined)
    if (!worker) return
    const pending = this.#queue.shift()
    if (pending) this.#run(worker, pending)
    else this.#idle.push(worker)
  }

  #spawn(): Worker {
    const workerData: ScanWorkerData = {
      role: 'scan',
      fingerprintKey: this.#options.fingerprintKey,
      issued: this.#issued,
    }
    const worker = new Worker(this.#options.module, {
      workerData,
      env: {},
      resourceLimits: {maxOldGenerationSizeMb: 256},
    })
    this.#all.add(worker)
    this.#current.add(worker)
    // Idle threads do not keep the process; a broken one only leaves the pool.
    worker.unref()
    worker.on('error', () => undefined)
    worker.on('exit', () => {
      this.#all.delete(worker)
      this.#current.delete(worker)
      const at = this.#idle.indexOf(worker)
      if (at >= 0) this.#idle.splice(at, 1)
    })
    return worker
  }

  #run(worker: Worker, {job, resolve, reject}: Pending): void {
    const size = job.ends.at(-1) ?? 0
    const settle = () => {
      clearTimeout(timer)
      worker.off('message', onMessage).off('error', onError).off('exit', onExit)
      worker.unref()
    }
    const fail = (reason: string) => {
      settle()
      this.#all.delete(worker)
      void worker.terminate()
      reject(new ScanFailed(reason))
      this.#next()
    }
    const onError = () => fail('the scanner broke')
    const onExit = () => fail('the scanner ended')
    const onMessage = (reply: ScanReply) => {
      settle()
      const memory = reply.bytes.buffer as ArrayBuffer
      if (memory.byteLength === SHEET_BYTES && this.#sheets.length < SHEETS_KEPT) this.#sheets.push(memory)
      if (this.#current.has(worker)) this.#idle.push(worker)
      else this.#retire(worker)
      const findings = reply.findings.filter((found) => found !== undefined)
      if (reply.id === job.id && findings.length === job.ends.length) resolve(findings)
      else
        reject(
          new ScanFailed('the content needs more work, or holds more secrets, than the scanner may judge'),
        )
      this.#next()
    }
    const timer = setTimeout(() => fail('the scanner took too long'), this.#options.deadline(size))
    worker.ref()
    worker.on('message', onMessage).on('error', onError).on('exit', onExit)
    worker.postMessage(job, [job.bytes.buffer as ArrayBuffer])
  }
}
