import {createSocket, type Socket as DatagramSocket} from 'node:dgram'
import {createServer, type Server, type Socket} from 'node:net'
import {buildRefusal, buildResponse, parseQuery, recordType, responseCode} from './message.js'

const TTL = 60
const INTERNET = 1
const TCP_IDLE_MS = 5000
const MAX_TCP_CONNECTIONS = 32
const LOOPBACK = ['127.0.0.1', '::1'] as const

/** Says which address a name has in this pod; undefined = the name does not exist here. */
export type AddressOf = (name: string, type: number) => string | undefined

/** The answer to one packet; nothing of it is ever forwarded. Undefined = no answer. */
export function answer(packet: Buffer, addressOf: AddressOf): Buffer | undefined {
  const question = parseQuery(packet)
  if (!question) return undefined
  if ('refuse' in question) return buildRefusal(question)
  if (question.class !== INTERNET)
    return buildResponse(packet, question, {code: responseCode.refused, ttl: TTL})
  const address = addressOf(question.name, question.type)
  if (address === undefined) return buildResponse(packet, question, {code: responseCode.nameError, ttl: TTL})
  // Other types have no data: no AAAA, and no HTTPS or SVCB records that would lead around the sidecar.
  const data = question.type === recordType.A ? {address} : {}
  return buildResponse(packet, question, {...data, code: responseCode.noError, ttl: TTL})
}

export interface Responder {
  close(): Promise<void>
}

/** Answers on UDP and TCP of both loopback addresses; a machine without IPv6 has one. */
export async function startResponder(port: number, addressOf: AddressOf): Promise<Responder> {
  const started = await Promise.all(
    LOOPBACK.map(async (host) => {
      try {
        return [await listenDatagram(host, port, addressOf), await listenStream(host, port, addressOf)]
      } catch (error) {
        const {code} = error as NodeJS.ErrnoException
        if (host === '::1' && (code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT')) return []
        throw error
      }
    }),
  )
  return {
    close: async () => {
      await Promise.all(started.flat().map((close) => close()))
    },
  }
}

function listenDatagram(host: string, port: number, addressOf: AddressOf): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    const socket: DatagramSocket = createSocket({
      type: host === '::1' ? 'udp6' : 'udp4',
      ipv6Only: host === '::1',
    })
    socket.on('message', (packet, from) => {
      const response = answer(packet, addressOf)
      // A lost answer is asked for again.
      if (response) socket.send(response, from.port, from.address, () => undefined)
    })
    socket.once('error', reject)
    socket.bind(port, host, () => {
      socket.off('error', reject)
      socket.on('error', () => undefined)
      resolve(() => new Promise((closed) => socket.close(() => closed())))
    })
  })
}

function listenStream(host: string, port: number, addressOf: AddressOf): Promise<() => Promise<void>> {
  return new Promise((resolve, reject) => {
    const open = new Set<Socket>()
    const server: Server = createServer((socket) => {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
      serveStream(socket, addressOf)
    })
    server.maxConnections = MAX_TCP_CONNECTIONS
    server.once('error', reject)
    server.listen({host, port, ipv6Only: host === '::1'}, () => {
      server.off('error', reject)
      server.on('error', () => undefined)
      resolve(
        () =>
          new Promise((closed) => {
            server.close(() => closed())
            for (const socket of open) socket.destroy()
          }),
      )
    })
  })
}

function serveStream(socket: Socket, addressOf: AddressOf): void {
  let pending = Buffer.alloc(0)
  socket.setTimeout(TCP_IDLE_MS, () => socket.destroy())
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const end = 2 + pending.readUInt16BE(0)
      const response = answer(pending.subarray(2, end), addressOf)
      pending = pending.subarray(end)
      if (!response) return void socket.destroy()
      const length = Buffer.alloc(2)
      length.writeUInt16BE(response.length)
      socket.write(Buffer.concat([length, response]))
    }
  })
}
