import {Pool} from 'undici'
import type {Dialled} from './dial.js'

const MAX_POOLS = 128
const CONNECTIONS = 128
/** Models think for minutes before the first byte. */
const FIRST_BYTE_MS = 15 * 60 * 1000
const SILENCE_MS = 5 * 60 * 1000
const KEEP_ALIVE_MS = 20_000

export interface Upstream {
  pool: Pool
  /** that the newest connection was made to */
  address: string | undefined
}

/** Kept connections, one pool per endpoint, so that none is ever used for another host. All belong to one grant. */
export class Upstreams {
  readonly #pools = new Map<string, Upstream>()

  get(key: string, dial: () => Promise<Dialled>): Upstream {
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
    void this.#pools
      .get(key)
      ?.pool.close()
      .catch(() => undefined)
    this.#pools.delete(key)
  }
}

function create(dial: () => Promise<Dialled>): Upstream {
  const upstream: Upstream = {address: undefined, pool: undefined as never}
  upstream.pool = new Pool('http://upstream.invalid', {
    connections: CONNECTIONS,
    pipelining: 1,
    headersTimeout: FIRST_BYTE_MS,
    bodyTimeout: SILENCE_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: 64 * 1024,
    connect: (_options, done) => {
      dial().then(
        ({socket, address}) => {
          upstream.address = address
          done(null, socket)
        },
        (error: unknown) => done(error as Error, null),
      )
    },
  })
  return upstream
}
