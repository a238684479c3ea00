import type {Headers} from './facts.js'

/** One request on its way out, decided and canonical. */
export interface UpstreamRequest {
  method: string
  /** path and query */
  path: string
  /** Host first, no framing */
  headers: Headers
  /** framing follows from it: bytes have a length, anything else is chunked unless `length` says more */
  body: Buffer | AsyncIterable<Buffer> | null
  length?: number
  /** that trailers of the answer are wanted */
  trailers?: boolean
}

/** What a running request can be told. */
export interface UpstreamControl {
  /** Ends it. MUST be safe at any time, also after its end. */
  abort(reason: Error): void
  pause(): void
  resume(): void
}

/** Hears of one request's way: `onStart` (again, when a kept connection was closed before it took it), `onHead`, `onData` …, then exactly one of `onEnd` and `onError`. */
export interface UpstreamAnswer {
  onStart(control: UpstreamControl): void
  /** @param isWhole that neither body nor trailers follow */
  onHead(status: number, headers: Headers, isWhole: boolean): void
  onData(chunk: Buffer): void
  onEnd(trailers: Headers): void
  onError(error: Error): void
}

/** Kept connections to one endpoint. `send` MUST NOT throw and MUST judge nothing: what is sent here was decided. */
export interface Sender {
  send(request: UpstreamRequest, answer: UpstreamAnswer): void
}
