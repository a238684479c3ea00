import {Readable} from 'node:stream'
import type {Dispatcher} from 'undici'
import {headerPairs} from './facts.js'
import type {Sender, UpstreamAnswer, UpstreamRequest} from './upstream.js'

/** HTTP/1.1 to one endpoint. */
export class Http1Sender implements Sender {
  readonly #pool: Dispatcher

  constructor(pool: Dispatcher) {
    this.#pool = pool
  }

  send({method, path, headers, body, length}: UpstreamRequest, answer: UpstreamAnswer): void {
    const framing = length === undefined ? [] : ['content-length', String(length)]
    const isWhole = body === null || Buffer.isBuffer(body)
    this.#pool.dispatch(
      {
        method,
        path,
        headers: [...headers.flat(), ...framing],
        body: isWhole ? body : Readable.from(body, {objectMode: false}),
      },
      {
        onRequestStart: (control) => answer.onStart(control),
        onResponseStart: (control, status) => {
          if (status < 200) return
          const raw = ((control.rawHeaders ?? []) as Buffer[]).map((text) => text.toString('latin1'))
          answer.onHead(status, headerPairs(raw), false)
        },
        onResponseData: (_control, chunk) => answer.onData(chunk),
        onResponseEnd: () => answer.onEnd([]),
        onResponseError: (_control, error) => answer.onError(error),
      },
    )
  }
}
