import type {Socket} from 'node:net'
import type {Dialled, Protocol} from './dial.js'
import {Http1Sender} from './http1/sender.js'
import {Http2Sender} from './http2/upstream.js'
import type {Sender} from './upstream.js'

const MAX_POOLS = 128

export type Dial = (protocols: readonly Protocol[]) => Promise<Dialled>

export interface Upstream {
  http1: Http1Sender
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
  const opened = async (protocols: readonly Protocol[]): Promise<Socket> => {
    const {socket, address} = await dial(protocols)
    upstream.address = address
    return socket
  }
  const http1 = new Http1Sender(() => opened(['http/1.1']))
  const http2 = new Http2Sender({
    dial: () => opened(['h2', 'http/1.1']),
    http1,
    adopt: (socket) => http1.adopt(socket),
  })
  const close = () => {
    http2.close()
    http1.close()
  }
  const upstream: Upstream = {http1, http2, address: undefined, close}
  return upstream
}
