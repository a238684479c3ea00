import type {IncomingMessage, ServerResponse} from 'node:http'
import {Readable, type Transform, type Writable} from 'node:stream'
import {createBrotliDecompress, createGunzip, createInflate} from 'node:zlib'
import type {Dispatcher} from 'undici'
import {Denial} from './denial.js'
import {endToEnd, type Headers} from './facts.js'
import {ScrubStream, scrubText, type replacementsFor} from './scrub.js'

export interface Outgoing {
  method: string
  /** path and query */
  path: string
  /** Host included, no framing */
  headers: Headers
  /** framing follows from it: bytes have a length, anything else is chunked unless `length` says more */
  body: Buffer | AsyncIterable<Buffer> | null
  length?: number
  replacements?: ReturnType<typeof replacementsFor>
  /** what the answer runs through, decoded; `stop` ends the request and lets what was written reach the agent */
  meter?: (status: number, contentType: string, stop: () => void) => Transform | undefined
}

export interface Outcome {
  /** of the upstream's response; undefined = none came */
  status: number | undefined
  bytesUp: number
  bytesDown: number
  /** why it ended early */
  failure?: Error
}

/**
 * Sends one request and relays its response as it arrives. Resolves when both are over, however they ended;
 * `failure` with `status` undefined means that nothing was written to the agent yet.
 */
export function forward(
  pool: Dispatcher,
  outgoing: Outgoing,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const relay = new Relay(outgoing, request, response, resolve)
    const {body, length} = outgoing
    const isWhole = body === null || Buffer.isBuffer(body)
    if (Buffer.isBuffer(body)) relay.outcome.bytesUp = body.length
    pool.dispatch(
      {
        method: outgoing.method,
        path: outgoing.path,
        headers: [
          ...outgoing.headers.flat(),
          ...(length === undefined ? [] : ['content-length', String(length)]),
        ],
        body: isWhole ? body : Readable.from(counted(body, relay.outcome), {objectMode: false}),
      },
      relay,
    )
  })
}

async function* counted(body: AsyncIterable<Buffer>, outcome: Outcome): AsyncGenerator<Buffer> {
  for await (const chunk of body) {
    outcome.bytesUp += chunk.length
    yield chunk
  }
}

const decoders = new Map<string, () => Transform>([
  ['br', createBrotliDecompress],
  ['deflate', createInflate],
  ['gzip', createGunzip],
  ['x-gzip', createGunzip],
])

class Relay implements Dispatcher.DispatchHandler {
  readonly outcome: Outcome = {status: undefined, bytesUp: 0, bytesDown: 0}
  readonly #outgoing: Outgoing
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #resolve: (outcome: Outcome) => void
  #sink: Writable
  #settled = false
  #stopped = false
  #controller: Dispatcher.DispatchController | undefined

  constructor(
    outgoing: Outgoing,
    request: IncomingMessage,
    response: ServerResponse,
    resolve: (outcome: Outcome) => void,
  ) {
    this.#outgoing = outgoing
    this.#request = request
    this.#response = response
    this.#resolve = resolve
    this.#sink = response
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    const leave = () => {
      if (!this.#response.writableFinished) controller.abort(new Error('the agent closed the connection'))
    }
    if (this.#response.destroyed) leave()
    else this.#response.once('close', leave)
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return
    this.outcome.status = status
    const raw = (controller.rawHeaders ?? []) as Buffer[]
    const headers: Headers = []
    for (let index = 0; index < raw.length; index += 2) {
      headers.push([raw[index]?.toString('latin1') ?? '', raw[index + 1]?.toString('latin1') ?? ''])
    }
    try {
      this.#response.sendDate = false
      this.#response.writeHead(status, this.#prepare(endToEnd(headers), status).flat())
      this.#response.flushHeaders()
    } catch (error) {
      controller.abort(error as Error)
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.outcome.bytesDown += chunk.length
    if (this.#sink.write(chunk)) return
    controller.pause()
    this.#sink.once('drain', () => controller.resume())
  }

  onResponseEnd(): void {
    this.#sink.end()
    this.#drain()
    this.#settle()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#stopped) this.#sink.end()
    else if (this.#response.headersSent) this.#response.destroy()
    else this.outcome.status = undefined
    this.#drain()
    this.#settle(error)
  }

  /** On hosts with credentials and at models the body runs through scrubber and meter, decoded first. Throws Denial. */
  #prepare(headers: Headers, status: number): Headers {
    const {replacements, meter, method} = this.#outgoing
    const valueOf = (wanted: string) =>
      headers
        .find(([name]) => name.toLowerCase() === wanted)?.[1]
        .trim()
        .toLowerCase()
    const stages = [
      meter?.(status, valueOf('content-type') ?? '', () => this.#stop()),
      replacements && new ScrubStream(replacements),
    ].filter((stage) => stage !== undefined)
    if (stages.length === 0) return headers
    const encoding = valueOf('content-encoding') ?? 'identity'
    const decoder = encoding === 'identity' ? undefined : decoders.get(encoding)
    if (encoding !== 'identity' && !decoder && method !== 'HEAD')
      throw new Denial('response_encoding', {status: 502})
    this.#sink = chain(decoder ? [decoder(), ...stages] : stages, this.#response)
    const dropped =
      method === 'HEAD'
        ? []
        : ['accept-ranges', 'content-encoding', 'content-length', 'content-md5', 'digest']
    return headers
      .filter(([name]) => !dropped.includes(name.toLowerCase()))
      .map(([name, value]) => [name, replacements ? scrubText(value, replacements) : value])
  }

  #stop(): void {
    this.#stopped = true
    // Not within the write that asked for it.
    setImmediate(() => this.#controller?.abort(new Error('its budget is spent')))
  }

  /** An answer before the end of the request: what the agent still sends is read and thrown away, or it would wait forever. */
  #drain(): void {
    if (!this.#request.complete) this.#request.resume()
  }

  #settle(failure?: Error): void {
    if (this.#settled) return
    this.#settled = true
    this.#resolve(failure ? {...this.outcome, failure} : this.outcome)
  }
}

/** Each stage into the next, the last into the response; a stage that fails ends it. Gives back the first. */
function chain(stages: readonly Transform[], response: ServerResponse): Writable {
  return stages.reduceRight<Writable>((next, stage) => {
    stage.on('error', () => response.destroy())
    stage.pipe(next)
    return stage
  }, response)
}
