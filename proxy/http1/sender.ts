import type {Duplex} from 'node:stream'
import type {Socket} from 'node:net'
import type {Headers} from '../facts.js'
import type {Sender, UpstreamAnswer, UpstreamRequest} from '../upstream.js'
import {AnswerError, AnswerReader} from './answer.js'
import {Connection, type Job, type Keeper} from './connection.js'
import {requestHead} from './request.js'

const MAX_CONNECTIONS = 128
const SWEEP_MS = 1000
const UPGRADE_MS = 60_000

export interface Upgraded {
  status: number
  headers: Headers
  /** paused; no longer HTTP when the status is 101 */
  socket: Duplex
}

/** HTTP/1.1 to one endpoint: kept connections, each with one request at a time; what finds none free waits its turn. */
export class Http1Sender implements Sender, Keeper {
  readonly #dial: () => Promise<Socket>
  readonly #connections = new Set<Connection>()
  /** the one used last is taken first */
  readonly #free: Connection[] = []
  readonly #waiting: Job[] = []
  #dialling = 0
  #closed = false
  #sweep: NodeJS.Timeout | undefined

  constructor(dial: () => Promise<Socket>) {
    this.#dial = dial
  }

  send(request: UpstreamRequest, answer: UpstreamAnswer): void {
    this.#serve({request, answer})
  }

  /** Takes over a connection that was made for something else. */
  adopt(socket: Socket): void {
    this.onFree(this.#added(socket))
  }

  /** Asks for another protocol on a connection of its own. Rejects when no answer comes. */
  async upgrade(path: string, headers: Headers, protocol: string): Promise<Upgraded> {
    const socket = await this.#dial()
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer)
        socket.off('data', read).off('error', fail).off('close', closed)
      }
      const fail = (error: Error) => {
        done()
        socket.on('error', () => undefined)
        socket.destroy()
        reject(error)
      }
      const closed = () => fail(new AnswerError('the connection was closed'))
      const reader = new AnswerReader('GET', {
        onHead: (status, answered) => {
          done()
          socket.pause()
          resolve({status, headers: answered, socket})
        },
        onData: () => undefined,
      })
      const read = (chunk: Buffer) => {
        try {
          reader.push(chunk)
          if (reader.surplus) socket.unshift(reader.surplus)
        } catch (error) {
          fail(error as Error)
        }
      }
      const timer = setTimeout(() => fail(new AnswerError('the other side is silent')), UPGRADE_MS)
      socket.on('data', read).on('error', fail).on('close', closed)
      const head = {method: 'GET', path, headers, body: null}
      try {
        socket.write(`${requestHead(head, 'Upgrade').slice(0, -2)}upgrade: ${protocol}\r\n\r\n`, 'latin1')
      } catch (error) {
        fail(error as Error)
      }
    })
  }

  /** What runs and waits ends in peace. */
  close(): void {
    this.#closed = true
    for (const connection of this.#free.splice(0)) connection.destroy()
  }

  onFree(connection: Connection): void {
    const job = this.#waiting.shift()
    if (job) connection.run(job)
    else if (this.#closed) connection.destroy()
    else this.#free.push(connection)
  }

  onClosed(connection: Connection): void {
    this.#connections.delete(connection)
    const at = this.#free.indexOf(connection)
    if (at >= 0) this.#free.splice(at, 1)
    if (this.#connections.size === 0) clearInterval(this.#sweep)
    this.#open()
  }

  onUntaken(job: Job): void {
    this.#serve(job)
  }

  #serve(job: Job): void {
    for (let connection = this.#free.pop(); connection; connection = this.#free.pop()) {
      if (connection.usable) {
        connection.run(job)
        return
      }
      connection.destroy()
    }
    this.#waiting.push(job)
    this.#open()
  }

  /** As many as are waited for, up to the most. */
  #open(): void {
    while (
      this.#dialling < this.#waiting.length &&
      this.#connections.size + this.#dialling < MAX_CONNECTIONS
    ) {
      this.#dialling++
      this.#dial().then(
        (socket) => {
          this.#dialling--
          this.onFree(this.#added(socket))
        },
        (error: unknown) => {
          this.#dialling--
          this.#waiting.shift()?.answer.onError(error as Error)
          this.#open()
        },
      )
    }
  }

  #added(socket: Socket): Connection {
    const connection = new Connection(socket, this)
    if (this.#connections.size === 0) this.#sweep = setInterval(() => this.#checkSilence(), SWEEP_MS).unref()
    this.#connections.add(connection)
    return connection
  }

  #checkSilence(): void {
    const now = performance.now()
    for (const connection of this.#connections) connection.checkSilence(now)
  }
}
