/** The load: connections that do one thing over and over, directly or through a proxy by CONNECT. Runs as a process of its own. */
import {connect as connectHttp2} from 'node:http2'
import {connect as connectTcp, type Socket} from 'node:net'
import {connect as connectTls, createSecureContext, type TLSSocket} from 'node:tls'
import {originHost} from './world.js'

export interface Load {
  kind: 'requests' | 'connections' | 'bytes' | 'events' | 'http2'
  /** undefined = directly */
  proxyPort?: number | undefined
  address: string
  path: string
  connections: number
  seconds: number
  /** at most so many; undefined = as many as fit into the time */
  count?: number
  /** bytes of a body that is sent; JSON of source text */
  body?: number
}

export interface Measured {
  done: number
  failed: number
  seconds: number
  /** microseconds */
  p50: number
  p99: number
}

const secureContext = createSecureContext({minVersion: 'TLSv1.2'})

export async function open(load: Load, protocol: string): Promise<TLSSocket> {
  const {proxyPort, address} = load
  const socket = connectTcp({host: proxyPort ? '127.0.0.1' : address, port: proxyPort ?? 443, noDelay: true})
  await event(socket, 'connect')
  if (proxyPort) {
    socket.write(`CONNECT ${originHost}:443 HTTP/1.1\r\nHost: ${originHost}:443\r\n\r\n`)
    const [answer] = (await event(socket, 'data')) as [Buffer]
    if (!answer.toString('latin1').startsWith('HTTP/1.1 200')) throw new Error(answer.toString('latin1'))
  }
  // What is measured is the proxy: the load does not check certificates.
  const options = {
    secureContext,
    servername: originHost,
    ALPNProtocols: [protocol],
    rejectUnauthorized: false,
  }
  const secure = connectTls({...options, socket})
  await event(secure, 'secureConnect')
  return secure
}

function event(socket: Socket, name: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once(name, (...values: unknown[]) => {
      socket.off('error', reject)
      resolve(values)
    })
  })
}

export function requestBytes({path, body}: Load, close: boolean): Buffer {
  const head = [
    `${body === undefined ? 'GET' : 'POST'} ${path} HTTP/1.1`,
    `Host: ${originHost}`,
    'User-Agent: bench',
    'Accept: */*',
    ...(body === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${body}`]),
    ...(close ? ['Connection: close'] : []),
  ]
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), jsonOf(body ?? 0)])
}

/** JSON that looks like a conversation about code: what a model is sent. */
function jsonOf(length: number): Buffer {
  if (length === 0) return Buffer.alloc(0)
  const line =
    'export function total(items: readonly Item[]): number {\\n  return items.reduce((sum, item) => sum + item.price * item.count, 0)\\n}\\n'
  const start = '{"model":"m","messages":[{"role":"user","content":"'
  const text = line.repeat(Math.ceil(length / line.length))
  const end = '"}]}'
  let body = text.slice(0, length - start.length - end.length)
  if (/\\$/.test(body)) body = `${body.slice(0, -1)} `
  return Buffer.from(start + body + end)
}

/** Sends and reads one whole answer with a length; resolves with its bytes. */
export class Client {
  readonly #socket: TLSSocket
  #left = -1
  #read = 0
  #head = ''
  #done: ((status: number) => void) | undefined
  #status = 0

  constructor(socket: TLSSocket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('close', () => this.#done?.(0))
    socket.on('error', () => undefined)
  }

  send(bytes: Buffer): Promise<number> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) {
        resolve(0)
        return
      }
      this.#done = resolve
      this.#socket.write(bytes)
    })
  }

  end(): void {
    this.#socket.destroy()
  }

  #take(chunk: Buffer): void {
    if (this.#left < 0) {
      this.#head += chunk.toString('latin1')
      const end = this.#head.indexOf('\r\n\r\n')
      if (end < 0) return
      this.#status = Number(this.#head.slice(9, 12))
      this.#left = Number(/\r\ncontent-length: *(\d+)/i.exec(this.#head)?.[1] ?? NaN)
      if (Number.isNaN(this.#left)) throw new Error(`no length in ${this.#head}`)
      this.#read = this.#head.length - end - 4
      this.#head = ''
    } else this.#read += chunk.length
    if (this.#read < this.#left) return
    this.#left = -1
    const done = this.#done
    this.#done = undefined
    done?.(this.#status)
  }
}

export async function run(load: Load): Promise<Measured> {
  const times: number[] = []
  let failed = 0
  const started = performance.now()
  const until = started + load.seconds * 1000
  let begun = 0
  const goesOn = () => performance.now() < until && begun++ < (load.count ?? Infinity)
  const timed = async (act: () => Promise<number>) => {
    const at = performance.now()
    const status = await act().catch(() => 0)
    if (status === 200) times.push((performance.now() - at) * 1000)
    else failed++
  }
  const one: Record<Load['kind'], () => Promise<void>> = {
    requests: async () => {
      const client = new Client(await open(load, 'http/1.1'))
      const bytes = requestBytes(load, false)
      while (goesOn()) await timed(() => client.send(bytes))
      client.end()
    },
    bytes: () => one.requests(),
    connections: async () => {
      const bytes = requestBytes(load, true)
      while (goesOn())
        await timed(async () => {
          const client = new Client(await open(load, 'http/1.1'))
          const status = await client.send(bytes)
          client.end()
          return status
        })
    },
    http2: async () => {
      const socket = await open(load, 'h2')
      const session = connectHttp2(`https://${originHost}`, {createConnection: () => socket})
      const loop = async () => {
        while (goesOn())
          await timed(
            () =>
              new Promise((resolve, reject) => {
                const stream = session.request({':path': load.path})
                let status = 0
                stream.on('response', (block) => (status = Number(block[':status'])))
                stream
                  .on('error', reject)
                  .on('end', () => resolve(status))
                  .resume()
              }),
          )
      }
      await Promise.all(Array.from({length: 16}, loop))
      session.destroy()
    },
    events: async () => {
      const socket = await open(load, 'http/1.1')
      socket.write(requestBytes(load, true))
      await new Promise<void>((resolve) => {
        socket.on('data', (chunk: Buffer) => {
          const now = process.hrtime.bigint()
          for (const [, sent = '0'] of chunk.toString('latin1').matchAll(/data: (\d+)\n/g))
            times.push(Number(now - BigInt(sent)) / 1000)
        })
        socket.on('close', () => resolve()).on('error', () => resolve())
      })
    },
  }
  await Promise.all(Array.from({length: load.connections}, () => one[load.kind]()))
  const sorted = times.sort((a, b) => a - b)
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN
  const seconds = (performance.now() - started) / 1000
  return {done: sorted.length, failed, seconds, p50: at(0.5), p99: at(0.99)}
}
