import {ServerResponse} from 'node:http'
import type {Writable} from 'node:stream'
import type {BodySource} from './body.js'
import {flat, type Headers, type RequestHead} from './facts.js'

/** A request as the agent sent it, in the form of HTTP/1 whichever version it speaks. Nothing in it was judged yet. */
export interface AgentRequest extends RequestHead, BodySource {
  destroy(): unknown
  once(event: 'close' | 'end', listener: () => void): unknown
}

/** The way back to the agent, whichever version it speaks. */
export interface AgentResponse {
  readonly headersSent: boolean
  readonly destroyed: boolean
  /** everything was handed over; what closes now closed in order */
  readonly finished: boolean
  /** where the body goes; `end` ends the answer */
  readonly body: Writable
  /** Asks for the body, as `Expect: 100-continue` wants it. */
  sendContinue(): void
  /**
   * Sends the header block at once.
   * @param isWhole that neither body nor trailers follow
   */
  start(status: number, headers: Headers, isWhole?: boolean): void
  /** What follows the body, where the agent can read it; before `body.end()`. */
  trail(trailers: Headers): void
  /** Cuts it off, so that no agent takes half an answer for a whole one. */
  destroy(): void
  once(event: 'close', listener: () => void): unknown
}

export class Http1Response implements AgentResponse {
  readonly #response: ServerResponse

  constructor(response: ServerResponse) {
    this.#response = response
    response.sendDate = false
  }

  get headersSent(): boolean {
    return this.#response.headersSent
  }

  get destroyed(): boolean {
    return this.#response.destroyed
  }

  get finished(): boolean {
    return this.#response.writableFinished
  }

  get body(): Writable {
    return this.#response
  }

  sendContinue(): void {
    this.#response.writeContinue()
  }

  start(status: number, headers: Headers): void {
    this.#response.writeHead(status, flat(headers))
    const {socket} = this.#response
    // What of the body is there already goes out in the same write.
    if (socket) {
      socket.cork()
      process.nextTick(() => socket.uncork())
    }
    this.#response.flushHeaders()
  }

  /** HTTP/1 agents do not wait for any. */
  trail(): void {
    return undefined
  }

  destroy(): void {
    this.#response.destroy()
  }

  once(event: 'close', listener: () => void): void {
    this.#response.once(event, listener)
  }
}
