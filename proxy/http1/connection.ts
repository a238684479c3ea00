import type {Socket} from 'node:net'
import type {Headers} from '../facts.js'
import type {UpstreamAnswer, UpstreamRequest} from '../upstream.js'
import {AnswerError, AnswerReader, type AnswerListener} from './answer.js'
import {requestHead} from './request.js'

/** Models think for minutes before the first byte. */
const FIRST_BYTE_MS = 15 * 60 * 1000
const SILENCE_MS = 5 * 60 * 1000
const KEEP_ALIVE_MS = 20_000
/** The other side counts from another moment. */
const KEEP_ALIVE_MARGIN_MS = 1000

/** A request and who hears of its answer. */
export interface Job {
  request: UpstreamRequest
  answer: UpstreamAnswer
  /** it was tried once on a kept connection that turned out to be closed */
  again?: boolean
}

/** Told what becomes of a connection. */
export interface Keeper {
  /** it can take the next request */
  onFree(connection: Connection): void
  onClosed(connection: Connection): void
  /** it was closed before it took the request, which may be sent on another */
  onUntaken(job: Job): void
}

/** One connection of HTTP/1.1, one request at a time. */
export class Connection implements AnswerListener {
  readonly #socket: Socket
  readonly #keeper: Keeper
  #job: Job | undefined
  #reader: AnswerReader | undefined
  #isSent = false
  #isUsed = false
  /** `performance.now()` at which silence has lasted too long */
  #deadline = Infinity

  constructor(socket: Socket, keeper: Keeper) {
    this.#socket = socket
    this.#keeper = keeper
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('end', () => this.#ended())
    socket.on('error', (error: Error) => this.#fail(error, true))
    socket.on('close', () => {
      this.#fail(new AnswerError('the connection was closed'), true)
      keeper.onClosed(this)
    })
  }

  get usable(): boolean {
    return !this.#job && this.#socket.writable && performance.now() < this.#deadline
  }

  /** Cuts off what was silent for too long. */
  checkSilence(now: number): void {
    if (now >= this.#deadline) this.destroy(new AnswerError('the other side is silent'))
  }

  destroy(reason?: Error): void {
    if (this.#job) this.#fail(reason ?? new AnswerError('the connection was given up'))
    this.#socket.destroy()
  }

  /** MUST be called only while it is usable. */
  run(job: Job): void {
    const {request, answer} = job
    const socket = this.#socket
    this.#job = job
    this.#reader = new AnswerReader(request.method, this)
    this.#isSent = false
    this.#deadline = performance.now() + FIRST_BYTE_MS
    answer.onStart({
      abort: (reason) => this.#abort(job, reason),
      pause: () => this.#pause(job, true),
      resume: () => this.#pause(job, false),
    })
    if (this.#job !== job) return
    if (socket.isPaused()) socket.resume()
    try {
      this.#send(job, requestHead(request))
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #send(job: Job, head: string): void {
    const {body, length} = job.request
    const socket = this.#socket
    if (body !== null && !Buffer.isBuffer(body)) {
      socket.write(head, 'latin1')
      void this.#pump(job, body, length)
      return
    }
    this.#isSent = true
    if (body === null) {
      socket.write(head, 'latin1')
      return
    }
    socket.cork()
    socket.write(head, 'latin1')
    socket.write(body)
    socket.uncork()
  }

  /** What the source throws ends the connection: half a body must not look like a whole one. */
  async #pump(job: Job, body: AsyncIterable<Buffer>, length: number | undefined): Promise<void> {
    let left = length ?? Infinity
    try {
      for await (const chunk of body) {
        if (this.#job !== job) return
        if (chunk.length === 0) continue
        left -= chunk.length
        if (left < 0) throw new AnswerError('the body is longer than its length')
        this.#touch()
        if (!this.#write(chunk, length === undefined)) await this.#drained()
      }
      if (this.#job !== job) return
      if (length !== undefined && left > 0) throw new AnswerError('the body is shorter than its length')
      if (length === undefined) this.#socket.write('0\r\n\r\n', 'latin1')
      this.#isSent = true
    } catch (error) {
      if (this.#job === job) this.#fail(error as Error)
    }
  }

  #write(chunk: Buffer, asChunk: boolean): boolean {
    const socket = this.#socket
    if (!asChunk) return socket.write(chunk)
    socket.cork()
    socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    socket.write(chunk)
    const hasRoom = socket.write('\r\n', 'latin1')
    socket.uncork()
    return hasRoom
  }

  #drained(): Promise<void> {
    const socket = this.#socket
    return new Promise((resolve) => {
      const done = () => {
        socket.off('drain', done).off('close', done)
        resolve()
      }
      if (socket.destroyed) resolve()
      else socket.on('drain', done).on('close', done)
    })
  }

  onHead(status: number, headers: Headers): void {
    if (status === 101) throw new AnswerError('the other side changed the protocol unasked')
    this.#job?.answer.onHead(status, headers, false)
  }

  onData(chunk: Buffer): void {
    this.#job?.answer.onData(chunk)
  }

  #read(chunk: Buffer): void {
    const {length} = chunk
    const reader = this.#reader
    if (!reader || length === 0) {
      // Nobody asked.
      if (length > 0) this.#socket.destroy()
      return
    }
    try {
      reader.push(chunk)
    } catch (error) {
      this.#fail(error as Error)
      return
    }
    if (reader.done) this.#complete(reader)
    else this.#touch()
  }

  #ended(): void {
    const reader = this.#reader
    if (!reader || !this.#job) return
    try {
      reader.close()
      this.#complete(reader)
    } catch (error) {
      this.#fail(error as Error, true)
    }
  }

  #complete(reader: AnswerReader): void {
    const job = this.#job
    if (!job) return
    this.#job = undefined
    this.#reader = undefined
    this.#isUsed = true
    const keptFor = Math.min(KEEP_ALIVE_MS, reader.keptFor - KEEP_ALIVE_MARGIN_MS)
    const isKept = this.#isSent && keptFor > 0 && this.#socket.writable
    this.#deadline = performance.now() + keptFor
    // An answer before the end of its request: the rest of that must not be taken for the next one.
    if (!isKept) this.#socket.destroy()
    job.answer.onEnd([])
    if (isKept) this.#keeper.onFree(this)
  }

  #abort(job: Job, reason: Error): void {
    if (this.#job === job) this.#fail(reason)
  }

  /** @param isLost that the connection is gone, and not that somebody gave it up */
  #fail(error: Error, isLost = false): void {
    const job = this.#job
    const isUntaken = isLost && this.#isUsed && this.#reader?.begun === false && isRepeatable(job)
    this.#job = undefined
    this.#reader = undefined
    this.#socket.destroy()
    if (!job) return
    if (isUntaken) this.#keeper.onUntaken({...job, again: true})
    else job.answer.onError(error)
  }

  #pause(job: Job, paused: boolean): void {
    if (this.#job !== job) return
    if (paused) {
      // It is the agent who takes its time.
      this.#deadline = Infinity
      this.#socket.pause()
      return
    }
    this.#touch()
    this.#socket.resume()
  }

  #touch(): void {
    if (!this.#socket.isPaused())
      this.#deadline = performance.now() + (this.#reader?.hasHead === true ? SILENCE_MS : FIRST_BYTE_MS)
  }
}

/** RFC 9110, 9.2.2; a body that comes by and by cannot be sent twice. */
function isRepeatable(job: Job | undefined): boolean {
  return job?.request.body === null && !job.again && /^(?:GET|HEAD|OPTIONS)$/.test(job.request.method)
}
