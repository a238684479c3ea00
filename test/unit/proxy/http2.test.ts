import {describe, expect, test} from '@jest/globals'
import type {BodySource} from '../../../proxy/body.js'
import {Denial} from '../../../proxy/denial.js'
import {requestFacts, type RequestFacts} from '../../../proxy/facts.js'
import {grpcDenial} from '../../../proxy/grpc/denial.js'
import {isGrpc, judgedMessages} from '../../../proxy/grpc/messages.js'
import {HeldBytes} from '../../../proxy/held.js'
import {Allowance} from '../../../proxy/http2/allowance.js'
import {http2Head} from '../../../proxy/http2/head.js'
import type {ConnectionTarget} from '../../../proxy/target.js'

const pseudo = [':method', 'GET', ':scheme', 'https', ':authority', 'a.test', ':path', '/x?y=1']
const connection: ConnectionTarget = {via: 'name', scheme: 'https', host: 'a.test', port: 443, sni: 'a.test'}

function reasonOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof Denial) return `${error.status} ${error.reason}`
    throw error
  }
  return 'let through'
}

describe('a header block of HTTP/2', () => {
  test('becomes the same facts as one of HTTP/1', () => {
    const head = http2Head(
      [...pseudo, 'accept', 'a', 'te', 'trailers', 'content-length', '3'],
      'https',
      false,
    )
    expect(requestFacts(head, connection, 'id')).toMatchObject({
      method: 'GET',
      host: 'a.test',
      path: '/x',
      query: 'y=1',
      headers: [['accept', 'a']],
      hasBody: true,
      contentLength: 3,
      http2: true,
      trailers: true,
    })
    expect(requestFacts(http2Head(pseudo, 'https', true), connection, 'id').hasBody).toBe(false)
  })

  test('has its cookies in one line, as everybody else reads them', () => {
    const {rawHeaders} = http2Head([...pseudo, 'cookie', 'a=1', 'x', 'y', 'cookie', 'b=2'], 'https', true)
    expect(rawHeaders).toEqual(['host', 'a.test', 'x', 'y', 'cookie', 'a=1; b=2'])
  })

  test('may name its host in Host alone, or twice the same', () => {
    const alone = [':method', 'GET', ':scheme', 'https', ':path', '/', 'host', 'a.test']
    expect(http2Head(alone, 'https', true).rawHeaders).toEqual(['host', 'a.test'])
    expect(http2Head([...pseudo, 'host', 'A.test'], 'https', true).rawHeaders).toEqual(['host', 'A.test'])
  })

  test.each<[string, string[], string]>([
    ['another Host', [...pseudo, 'host', 'b.test'], '421 target_mismatch'],
    ['two Hosts', [...pseudo, 'host', 'a.test', 'host', 'a.test'], '400 header_repeated'],
    ['no name', [':method', 'GET', ':scheme', 'https', ':path', '/'], '400 host_missing'],
    ['a pseudo-header late', [...pseudo.slice(0, 6), 'a', 'b', ':path', '/'], '400 http_malformed'],
    ['a pseudo-header twice', [...pseudo, ':path', '/'], '400 http_malformed'],
    ['an unknown pseudo-header', [...pseudo, ':status', '200'], '400 http_malformed'],
    ['no path', pseudo.slice(0, 6), '400 http_malformed'],
    ['an empty path', [...pseudo.slice(0, 6), ':path', ''], '400 http_malformed'],
    [
      'another scheme',
      [':method', 'GET', ':scheme', 'http', ':authority', 'a.test', ':path', '/'],
      '400 http_malformed',
    ],
    ['capitals', [...pseudo, 'X-Up', '1'], '400 http_malformed'],
    ['a space in a name', [...pseudo, 'x y', '1'], '400 http_malformed'],
    ['a colon in a name', [...pseudo, 'x:y', '1'], '400 http_malformed'],
    ['a line break', [...pseudo, 'x', 'a\r\nb: c'], '400 http_malformed'],
    ['a NUL', [...pseudo, 'x', 'a\u0000'], '400 http_malformed'],
    ['a space before a value', [...pseudo, 'x', ' a'], '400 http_malformed'],
    ['Connection', [...pseudo, 'connection', 'close'], '400 http_malformed'],
    ['Transfer-Encoding', [...pseudo, 'transfer-encoding', 'chunked'], '400 http_malformed'],
    ['Upgrade', [...pseudo, 'upgrade', 'websocket'], '400 http_malformed'],
    ['TE', [...pseudo, 'te', 'gzip'], '400 http_malformed'],
    ['CONNECT', [':method', 'CONNECT', ':authority', 'a.test:443'], '405 method_not_allowed'],
    ['too much', [...pseudo, 'x', 'a'.repeat(16 * 1024)], '431 http_malformed'],
    ['too many', [...pseudo, ...Array.from({length: 500}, () => ['x', '']).flat()], '431 http_malformed'],
  ])('with %s is refused', (_name, raw, expected) => {
    expect(reasonOf(() => http2Head(raw, 'https', true))).toBe(expected)
  })
})

test('an allowance is spent and comes back by time', () => {
  let now = 0
  const allowance = new Allowance(2, 10, () => now)
  expect([allowance.take(), allowance.take(), allowance.take()]).toEqual([true, true, false])
  now = 100
  expect([allowance.take(), allowance.take()]).toEqual([true, false])
})

describe('gRPC', () => {
  const facts = {
    http2: true,
    contentType: 'application/grpc',
    headers: [['grpc-encoding', 'gzip']],
  } as unknown as RequestFacts
  const message = (text: string, flags = 0) => {
    const head = Buffer.alloc(5)
    head.writeUInt8(flags)
    head.writeUInt32BE(text.length, 1)
    return Buffer.concat([head, Buffer.from(text)])
  }
  const source = (chunks: Buffer[]): BodySource => ({
    complete: true,
    iterator: async function* () {
      for (const chunk of chunks) yield await Promise.resolve(chunk)
    },
    resume: () => undefined,
  })
  const judge = (text: string) => ({
    body: (bytes: Buffer) => {
      if (bytes.includes(text)) throw new Denial('secret_found')
    },
    bodyStream: () => {
      throw new Error('not for messages')
    },
  })
  async function passed(chunks: Buffer[]): Promise<{out: string[]; reason?: string}> {
    const out: string[] = []
    try {
      for await (const chunk of judgedMessages(source(chunks), facts, judge('SECRET'), new HeldBytes(1e6)))
        out.push(chunk.subarray(5).toString())
    } catch (error) {
      if (error instanceof Denial) return {out, reason: error.reason}
      throw error
    }
    return {out}
  }

  test('is known by its content type, over HTTP/2 alone', () => {
    const contentEncoding: string[] = []
    expect(isGrpc({http2: true, contentType: 'application/grpc+proto', contentEncoding})).toBe(true)
    expect(isGrpc({http2: true, contentType: 'application/grpc-web', contentEncoding})).toBe(false)
    expect(isGrpc({http2: false, contentType: 'application/grpc', contentEncoding})).toBe(false)
    expect(isGrpc({http2: true, contentType: 'application/grpc', contentEncoding: ['br']})).toBe(false)
  })

  test('messages come out whole, however they are cut', async () => {
    const bytes = Buffer.concat([message('one'), message(''), message('three')])
    for (let at = 0; at <= bytes.length; at++)
      expect(await passed([bytes.subarray(0, at), bytes.subarray(at)])).toEqual({out: ['one', '', 'three']})
  })

  test('a message that must not leave ends it before its first byte, however it is cut', async () => {
    const bytes = Buffer.concat([message('one'), message('a SECRET'), message('three')])
    for (let at = 0; at <= bytes.length; at++)
      expect(await passed([bytes.subarray(0, at), bytes.subarray(at)])).toEqual({
        out: ['one'],
        reason: 'secret_found',
      })
  })

  test.each<[string, Buffer, string]>([
    ['half a prefix', Buffer.from([0, 0]), 'grpc_malformed'],
    ['half a message', message('abcd').subarray(0, 7), 'grpc_malformed'],
    ['an unknown flag', message('abcd', 2), 'grpc_malformed'],
    ['a length that nobody takes', Buffer.from([0, 255, 255, 255, 255]), 'body_over_limit'],
    ['a lie about its coding', message('abcd', 1), 'body_encoding'],
  ])('%s is refused', async (_name, bytes, reason) => {
    expect(await passed([bytes])).toEqual({out: [], reason})
  })

  test('a denial can be read by its clients', () => {
    const block = new Map(
      grpcDenial(new Denial('rate_limited', {status: 429, hint: 'Wäit, 100%'}), {requestId: 'r'}),
    )
    expect(block.get('grpc-status')).toBe('8')
    expect(block.get('grpc-message')).toContain('W%C3%A4it, 100%25')
    expect(JSON.parse(decodeURIComponent(block.get('grpc-message') ?? ''))).toMatchObject({
      reason: 'rate_limited',
    })
  })
})
