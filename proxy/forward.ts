import type {Transform, Writable} from 'node:stream'
import {createBrotliDecompress, createGunzip, createInflate} from 'node:zlib'
import type {AgentRequest, AgentResponse} from './agent.js'
import {Denial} from './denial.js'
import {endToEnd, type Headers} from './facts.js'
import {ScrubStream, scrubText, type replacementsFor} from './scrub.js'
import type {Sender, UpstreamAnswer, UpstreamControl, UpstreamRequest} from './upstream.js'

export interface Outgoing extends UpstreamRequest {
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
  sender: Sender,
  outgoing: Outgoing,
  request: AgentRequest,
  response: AgentResponse,
): Promise<Outcome> {
  if (response.destroyed) {
    const failure = new Error('the agent closed the connection')
    return Promise.resolve({status: undefined, bytesUp: 0, bytesDown: 0, failure})
  }
  return new Promise((resolve) => {
    const relay = new Relay(outgoing, request, response, resolve)
    const {body} = outgoing
    if (Buffer.isBuffer(body)) relay.outcome.bytesUp = body.length
    const isWhole = body === null || Buffer.isBuffer(body)
    sender.send(isWhole ? outgoing : {...outgoing, body: counted(body, relay.outcome)}, relay)
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

class Relay implements UpstreamAnswer {
  readonly outcome: Outcome = {status: undefined, bytesUp: 0, bytesDown: 0}
  readonly #outgoing: Outgoing
  readonly #request: AgentRequest
  readonly #response: AgentResponse
  readonly #resolve: (outcome: Outcome) => void
  #control: UpstreamControl | undefined
  #sink: Writable | undefined
  #settled = false
  #stopped = false

  constructor(
    outgoing: Outgoing,
    request: AgentRequest,
    response: AgentResponse,
    resolve: (outcome: Outcome) => void,
  ) {
    this.#outgoing = outgoing
    this.#request = request
    this.#response = response
    this.#resolve = resolve
    response.once('close', () => this.#leave())
  }

  onStart(control: UpstreamControl): void {
    this.#control = control
    if (this.#response.destroyed) this.#leave()
  }

  onHead(status: number, headers: Headers, isWhole: boolean): void {
    this.outcome.status = status
    try {
      const prepared = this.#prepare(endToEnd(headers), status, isWhole)
      this.#response.start(status, prepared, isWhole)
      this.#sink ??= this.#response.body
    } catch (error) {
      this.#control?.abort(error as Error)
    }
  }

  onData(chunk: Buffer): void {
    this.outcome.bytesDown += chunk.length
    const sink = this.#sink
    if (!sink || sink.write(chunk)) return
    this.#control?.pause()
    sink.once('drain', () => this.#control?.resume())
  }

  onEnd(trailers: Headers): void {
    if (trailers.length > 0) this.#trail(endToEnd(trailers))
    this.#sink?.end()
    this.#drain()
    this.#settle()
  }

  #trail(trailers: Headers): void {
    const {replacements} = this.#outgoing
    this.#response.trail(
      replacements ? trailers.map(([name, value]) => [name, scrubText(value, replacements)]) : trailers,
    )
  }

  onError(error: Error): void {
    if (this.#stopped) this.#sink?.end()
    else if (this.#response.headersSent) this.#response.destroy()
    else this.outcome.status = undefined
    this.#drain()
    this.#settle(error)
  }

  #leave(): void {
    if (!this.#response.finished) this.#control?.abort(new Error('the agent closed the connection'))
  }

  /** On hosts with credentials and at models the body runs through scrubber and meter, decoded first. Throws Denial. */
  #prepare(headers: Headers, status: number, isWhole: boolean): Headers {
    const {replacements, meter, method} = this.#outgoing
    if (!replacements && !meter) return headers
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
    if (!isWhole) this.#sink = chain(decoder ? [decoder(), ...stages] : stages, this.#response)
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
    setImmediate(() => this.#control?.abort(new Error('its budget is spent')))
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
function chain(stages: readonly Transform[], response: AgentResponse): Writable {
  return stages.reduceRight<Writable>((next, stage) => {
    stage.on('error', () => response.destroy())
    stage.pipe(next)
    return stage
  }, response.body)
}
