import {randomInt} from 'node:crypto'
import {createSocket} from 'node:dgram'
import {connect, isIPv6} from 'node:net'
import {CageError} from '../../core/errors.js'
import {buildQuery, parseResponse, responseCode, type Addresses} from './message.js'

const ATTEMPTS = 2
const ATTEMPT_MS = 2500
const MAX_TTL = 60
const MAX_CACHED = 1024

export interface NameServer {
  address: string
  port: number
}

interface Cached {
  addresses: string[]
  until: number
}

/** `address` or `address:port` as in a grant. */
export function parseNameServer(text: string): NameServer {
  const [, bracketed, port6] = /^\[([^\]]+)\](?::(\d+))?$/.exec(text) ?? []
  if (bracketed !== undefined) return {address: bracketed, port: Number(port6 ?? 53)}
  if (isIPv6(text)) return {address: text, port: 53}
  const [address = '', port] = text.split(':')
  return {address, port: Number(port ?? 53)}
}

/**
 * The sidecar's own way to IPv4 addresses: the pod's resolv.conf points at the sidecar itself. Asks only for names
 * that policy allowed, with a random id over a connected socket, so that only the resolver can answer.
 */
export class Resolver {
  readonly #servers: readonly NameServer[]
  readonly #now: () => number
  readonly #cache = new Map<string, Cached>()
  readonly #running = new Map<string, Promise<string[]>>()

  /** @param now milliseconds that never jump: an address must not outlive its time */
  constructor(servers: readonly NameServer[], now: () => number = () => performance.now()) {
    this.#servers = servers
    this.#now = now
  }

  /** Throws CageError RESOLVE_FAILED; an empty list never comes back. */
  resolve(name: string): Promise<string[]> {
    const cached = this.#cache.get(name)
    if (cached && cached.until > this.#now()) return Promise.resolve(cached.addresses)
    const running = this.#running.get(name) ?? this.#ask(name).finally(() => this.#running.delete(name))
    this.#running.set(name, running)
    return running
  }

  async #ask(name: string): Promise<string[]> {
    if (this.#servers.length === 0) throw failed(name, 'no resolver is set')
    let problem = 'no answer'
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      for (const server of this.#servers) {
        const found = await exchange(server, name).catch((error: unknown) => {
          problem = error instanceof Error ? error.message : String(error)
          return undefined
        })
        if (!found) continue
        if (found.code === responseCode.nameError) throw failed(name, 'no such name')
        if (found.code !== responseCode.noError) {
          problem = `response code ${found.code}`
          continue
        }
        if (found.addresses.length === 0) throw failed(name, 'no IPv4 address')
        this.#remember(name, found)
        return found.addresses
      }
    }
    throw failed(name, problem)
  }

  #remember(name: string, found: Addresses): void {
    if (this.#cache.size >= MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value ?? '')
    this.#cache.set(name, {
      addresses: found.addresses,
      until: this.#now() + Math.min(found.ttl, MAX_TTL) * 1000,
    })
  }
}

function failed(name: string, problem: string): CageError {
  return new CageError(`${name} does not resolve: ${problem}`, {code: 'RESOLVE_FAILED'})
}

async function exchange(server: NameServer, name: string): Promise<Addresses> {
  const query = buildQuery(randomInt(0x10000), name)
  const found = await exchangeDatagram(server, query, name)
  return found.truncated ? exchangeStream(server, query, name) : found
}

function exchangeDatagram(server: NameServer, query: Buffer, name: string): Promise<Addresses> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(server.address) ? 'udp6' : 'udp4')
    let finished = false
    const finish = (act: () => void) => {
      if (finished) return
      finished = true
      clearTimeout(timer)
      socket.close()
      act()
    }
    const timer = setTimeout(() => finish(() => reject(new Error('no answer in time'))), ATTEMPT_MS)
    socket.on('error', (error) => finish(() => reject(error)))
    socket.on('message', (packet) => {
      const found = parseResponse(packet, query, name)
      // What does not answer this query was forged or is late.
      if (found) finish(() => resolve(found))
    })
    socket.connect(server.port, server.address, () => socket.send(query))
  })
}

function exchangeStream(server: NameServer, query: Buffer, name: string): Promise<Addresses> {
  return new Promise((resolve, reject) => {
    const socket = connect({host: server.address, port: server.port})
    let received = Buffer.alloc(0)
    const finish = (act: () => void) => {
      clearTimeout(timer)
      socket.destroy()
      act()
    }
    const timer = setTimeout(() => finish(() => reject(new Error('no answer in time'))), ATTEMPT_MS)
    socket.on('error', (error) => finish(() => reject(error)))
    socket.on('end', () => finish(() => reject(new Error('the answer was cut off'))))
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      const found = parseResponse(received.subarray(2, 2 + received.readUInt16BE(0)), query, name)
      finish(() => (found ? resolve(found) : reject(new Error('not an answer to the question'))))
    })
    const length = Buffer.alloc(2)
    length.writeUInt16BE(query.length)
    socket.write(Buffer.concat([length, query]))
  })
}
