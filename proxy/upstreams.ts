import type {Socket} from 'node:net'
import {Pool} from 'undici'
import type {Dialled, Protocol} from './dial.js'
import {Http1Sender} from './http1.js'
import {Http2Sender} from './http2/upstream.js'
import type {Sender} from './upstream.js'

const MAX_POOLS = 128
const CONNECTIONS = 128
/** Models think for minutes before the first byte. */
const FIRST_BYTE_MS = 15 * 60 * 1000
const SILENCE_MS = 5 * 60 * 1000
const KEEP_ALIVE_MS = 20_000

export type Dial = (protocols: readonly Protocol[]) => Promise<Dialled>

export interface Upstream {
  /** for tunnels, which need the connection itself */
  pool: Pool
  http1: Sender
  /** for agents that speak it: HTTP/2 where the endpoint does too */
  http2: Sender
  /** that the newest connection was made to */
  address: string | undefined
  close(): void
}

/** Kept connections, one pool per endpoint, so that none is ever used for another host. All belong to one grant. */
export class Upstreams {
  readonly #pools = new Map<string, Upstream>()

  get(key: string, dial: Dial): Upstream {
    const known = this.#pools.get(key)
    if (known) this.#pools.delete(key)
    const upstream = known ?? create(dial)
    this.#pools.set(key, upstream)
    if (this.#pools.size > MAX_POOLS) this.#drop(this.#pools.keys().next().value ?? '')
    return upstream
  }

  /** Running requests end in peace; nothing new is sent. */
  retire(): void {
    for (const key of [...this.#pools.keys()]) this.#drop(key)
  }

  #drop(key: string): void {
    this.#pools.get(key)?.close()
    this.#pools.delete(key)
  }
}

function create(dial: Dial): Upstream {
  const spares: Socket[] = []
  const opened = async (protocols: readonly Protocol[]): Promise<Socket> => {
    const {socket, address} = await dial(protocols)
    upstream.address = address
    return socket
  }
  const pool = new Pool('http://upstream.invalid', {
    connections: CONNECTIONS,
    pipelining: 1,
    headersTimeout: FIRST_BYTE_MS,
    bodyTimeout: SILENCE_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: 64 * 1024,
    connect: (_options, done) => {
      const spare = spares.pop()
      // It asks while it is busy, and would not hear an answer at once.
      if (spare && !spare.destroyed) queueMicrotask(() => done(null, spare))
      else
        opened(['http/1.1']).then(
          (socket) => done(null, socket),
          (error: unknown) => done(error as Error, null),
        )
    },
  })
  const http1 = new Http1Sender(pool)
  const http2 = new Http2Sender({
    dial: () => opened(['h2', 'http/1.1']),
    http1,
    adopt: (socket) => void spares.push(socket),
  })
  const close = () => {
    http2.close()
    void pool.close().catch(() => undefined)
    for (const spare of spares) spare.destroy()
  }
  const upstream: Upstream = {pool, http1, http2, address: undefined, close}
  return upstream
}
