import {readFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {describe, expect, jest, test} from '@jest/globals'
import {Denial} from '../../../proxy/denial.js'
import {parseQuery, parseResponse, buildQuery} from '../../../proxy/names/message.js'
import {answer} from '../../../proxy/names/responder.js'
import {requestFacts} from '../../../proxy/facts.js'
import {judgedMessages} from '../../../proxy/grpc/messages.js'
import {HeldBytes} from '../../../proxy/held.js'
import {http2Head} from '../../../proxy/http2/head.js'
import {absoluteTarget, connectTarget} from '../../../proxy/target.js'
import {MessageReader} from '../../../proxy/websocket/frames.js'
import {seededRandom} from '../../support/secret-sample.js'

jest.setTimeout(60_000)
const corpus = JSON.parse(readFileSync(fileURLToPath(new URL('corpus.json', import.meta.url)), 'utf8')) as {
  /** hex */
  dns: string[]
  connect: string[]
  http2: string[][]
  /** hex */
  grpc: string[]
}
const ROUNDS = 200

/** Bytes flipped, cut, doubled and set to the values that parsers trip over; the same on every run. */
function* mutations(seed: Buffer, random: () => number): Generator<Buffer> {
  const special = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff]
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = Buffer.from(seed)
    for (let changes = 1 + Math.floor(random() * 4); changes > 0 && bytes.length > 0; changes--) {
      bytes.writeUInt8(
        random() < 0.5 ? Math.floor(random() * 256) : special[Math.floor(random() * special.length)]!,
        Math.floor(random() * bytes.length),
      )
    }
    const cut = Math.floor(random() * (bytes.length + 1))
    yield random() < 0.3
      ? bytes.subarray(0, cut)
      : random() < 0.2
        ? Buffer.concat([bytes, bytes.subarray(cut)])
        : bytes
  }
}

describe('DNS packets of any kind', () => {
  const inputs = corpus.dns.map((hex) => Buffer.from(hex, 'hex'))

  test('are answered with their own id, or not at all, and name only what was decided', () => {
    const random = seededRandom(1)
    for (const seed of inputs) {
      for (const packet of [seed, ...mutations(seed, random)]) {
        const asked: string[] = []
        const given = answer(packet, (name) => {
          asked.push(name)
          return name === 'allowed.test' ? '198.18.0.1' : undefined
        })
        const question = parseQuery(packet)
        if (!given) {
          expect(question).toBeUndefined()
          continue
        }
        expect(given.readUInt16BE(0)).toBe(packet.readUInt16BE(0))
        expect(given.readUInt16BE(2) & 0x8000).toBe(0x8000)
        if (given.readUInt16BE(6) > 0) expect(asked).toEqual(['allowed.test'])
      }
    }
  })

  test('never end the parser of responses, nor give it addresses of another question', () => {
    const random = seededRandom(2)
    const query = buildQuery(7, 'allowed.test')
    for (const seed of inputs) {
      for (const packet of [seed, ...mutations(seed, random)]) {
        const found = parseResponse(packet, query, 'allowed.test')
        for (const address of found?.addresses ?? []) expect(address).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
      }
    }
  })
})

describe('CONNECT lines of any kind', () => {
  test('name a canonical host and port, or are refused', () => {
    const random = seededRandom(3)
    for (const text of corpus.connect) {
      for (const bytes of [Buffer.from(text, 'latin1'), ...mutations(Buffer.from(text, 'latin1'), random)]) {
        for (const parse of [
          (line: string) => connectTarget(line, undefined),
          (line: string) => absoluteTarget(line).target,
        ]) {
          try {
            const {host, port} = parse(bytes.toString('latin1'))
            expect(host).toMatch(/^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/)
            expect(host).toMatch(/[^0-9.]/)
            expect(port >= 1 && port <= 65535).toBe(true)
          } catch (error) {
            if (!(error instanceof Denial)) throw error
            expect(error.reason).toMatch(/^[a-z_]+$/)
          }
        }
      }
    }
  })
})

test('WebSocket bytes of any kind are messages or a refusal', () => {
  const random = seededRandom(4)
  for (const seed of [
    '818568656c6c0d0000000d',
    '0182000000006869800000',
    '8a80112233448880aabbccdd',
    '82fe00800000000000',
  ]) {
    for (const bytes of mutations(Buffer.from(seed, 'hex'), random)) {
      try {
        for (const {payload} of new MessageReader(true).push(bytes))
          expect(payload.length).toBeLessThanOrEqual(bytes.length)
      } catch (error) {
        if (!(error instanceof Denial)) throw error
      }
    }
  }
})

test('header blocks of HTTP/2 of any kind name the connection’s host in one way, or are refused', () => {
  const random = seededRandom(5)
  const connection = {
    via: 'name',
    scheme: 'https',
    host: 'allowed.test',
    port: 443,
    sni: 'allowed.test',
  } as const
  let passed = 0
  for (const seed of corpus.http2) {
    const joined = Buffer.from(seed.join('\u0001'), 'latin1')
    for (const bytes of [joined, ...mutations(joined, random)]) {
      const lines = bytes.toString('latin1').split('\u0001')
      try {
        const facts = requestFacts(http2Head(lines, 'https', random() < 0.5), connection, 'id')
        expect([facts.host, facts.port]).toEqual(['allowed.test', 443])
        for (const [name, value] of facts.headers) {
          expect(name).toMatch(/^[^A-Z\u0000-\u0020:]+$/)
          expect(value).not.toMatch(/[\r\n\u0000]/)
          expect(name).not.toMatch(/^(host|connection|transfer-encoding|content-length)$/)
        }
        passed++
      } catch (error) {
        if (!(error instanceof Denial)) throw error
        expect(error.reason).toMatch(/^[a-z_0-9]+$/)
      }
    }
  }
  expect(passed).toBeGreaterThan(10)
})

test('gRPC bytes of any kind are messages that were judged, or a refusal', async () => {
  const random = seededRandom(6)
  for (const seed of corpus.grpc) {
    for (const bytes of mutations(Buffer.from(seed, 'hex'), random)) {
      const judged: string[] = []
      const cut = Math.floor(random() * (bytes.length + 1))
      const source = {
        complete: true,
        resume: () => undefined,
        iterator: async function* () {
          yield bytes.subarray(0, cut)
          yield await Promise.resolve(bytes.subarray(cut))
        },
      }
      const judge = {
        body: (message: Buffer) => void judged.push(message.toString('latin1')),
        bodyStream: () => ({push: (chunk: Buffer) => chunk, end: () => Buffer.alloc(0)}),
      }
      const facts = {headers: [['grpc-encoding', 'gzip']]} as unknown as Parameters<typeof judgedMessages>[1]
      try {
        for await (const out of judgedMessages(source, facts, judge, new HeldBytes(1e9))) {
          expect(out.readUInt32BE(1)).toBe(out.length - 5)
          expect(judged).toContain(out.subarray(5).toString('latin1'))
        }
      } catch (error) {
        if (!(error instanceof Denial)) throw error
      }
    }
  }
})
