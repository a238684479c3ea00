import {once} from 'node:events'
import {connect as connectTcp, createServer, type AddressInfo, type Server, type Socket} from 'node:net'
import {connect as connectTls} from 'node:tls'
import {afterAll, beforeAll, expect, test} from '@jest/globals'
import {createAuthority, parseAuthority} from '../../../core/certificates/authority.js'
import type {AuditEvent} from '../../../proxy/audit/record.js'
import {Leaves} from '../../../proxy/certificates/leaves.js'
import type {Exchange} from '../../../proxy/exchange.js'
import {Interceptor} from '../../../proxy/intercept.js'
import type {Records} from '../../../proxy/records.js'
import {seededRandom} from '../../support/secret-sample.js'

const ROUNDS = 150
const authority = parseAuthority(createAuthority('test', Date.now()))
const leaves = new Leaves(authority)
const handled: unknown[] = []
const recorded: AuditEvent[] = []
let server: Server

beforeAll(async () => {
  const exchange = {
    protocolsFor: () => ['h2', 'http/1.1'],
    handle: (...all: unknown[]) => void handled.push(all),
  }
  const records = {writeOnce: (event: AuditEvent) => void recorded.push(event)}
  const interceptor = new Interceptor(exchange as unknown as Exchange, leaves, records as unknown as Records)
  server = createServer((socket) => {
    socket.on('error', () => undefined)
    interceptor.secure(socket, {via: 'name', scheme: 'https', host: 'a.test', port: 443})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => void server.close())

const port = () => (server.address() as AddressInfo).port

/** The first bytes that a real client says. */
async function clientHello(servername: string): Promise<Buffer> {
  const listener = createServer()
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const client = connectTls({
    port: (listener.address() as AddressInfo).port,
    servername,
    ALPNProtocols: ['h2', 'http/1.1'],
  })
  client.on('error', () => undefined)
  const [socket] = (await once(listener, 'connection')) as [Socket]
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  client.destroy()
  listener.close()
  return bytes
}

async function say(bytes: Buffer): Promise<void> {
  const socket = connectTcp(port(), '127.0.0.1')
  socket.on('error', () => undefined).resume()
  socket.end(bytes)
  await once(socket, 'close')
}

test('a ClientHello of any kind is a handshake or its end, never a request, and others go on', async () => {
  const random = seededRandom(7)
  const seeds = await Promise.all(['a.test', 'xn--a.test', `${'a'.repeat(60)}.test`].map(clientHello))
  const before = leaves.size
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = Buffer.from(seeds[round % seeds.length] ?? Buffer.alloc(0))
    for (let changes = Math.floor(random() * 6); changes > 0; changes--)
      bytes.writeUInt8(Math.floor(random() * 256), Math.floor(random() * bytes.length))
    await say(random() < 0.3 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes)
  }
  expect(handled).toEqual([])
  expect(leaves.size - before).toBeLessThanOrEqual(ROUNDS)
  for (const {decision, reason} of recorded)
    expect([decision, reason]).toEqual(['deny', expect.stringMatching(/^(tls_failed|sni_missing)$/)])
  expect(recorded.length).toBeGreaterThan(10)

  const client = connectTls({port: port(), servername: 'a.test', ca: authority.certificate})
  await once(client, 'secureConnect')
  client.end('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n')
  while (handled.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  client.destroy()
})
