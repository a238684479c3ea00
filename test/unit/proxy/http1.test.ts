import {createServer, connect, type AddressInfo, type Server, type Socket} from 'node:net'
import {afterEach, describe, expect, test} from '@jest/globals'
import type {Headers} from '../../../proxy/facts.js'
import {AnswerError, AnswerReader} from '../../../proxy/http1/answer.js'
import {requestHead} from '../../../proxy/http1/request.js'
import {Http1Sender} from '../../../proxy/http1/sender.js'
import type {UpstreamRequest} from '../../../proxy/upstream.js'
import {seededRandom} from '../../support/secret-sample.js'

interface Read {
  status: number
  headers: Headers
  body: string
  done: boolean
  keptFor: number
}

/** What a reader makes of the bytes, in pieces of so many; `ended` = the connection ends behind them. */
function read(text: string, {method = 'GET', piece = Infinity, ended = false} = {}): Read {
  const result = {status: 0, headers: [] as Headers, body: ''}
  const reader = new AnswerReader(method, {
    onHead: (status, headers) => Object.assign(result, {status, headers}),
    onData: (chunk) => (result.body += chunk.toString('latin1')),
  })
  const bytes = Buffer.from(text, 'latin1')
  for (let at = 0; at < bytes.length; at += Math.min(piece, bytes.length))
    reader.push(bytes.subarray(at, at + piece))
  if (ended) reader.close()
  return {...result, done: reader.done, keptFor: reader.keptFor}
}

describe('an answer', () => {
  test.each<
    [string, string, {body: string; done: boolean; kept: boolean}, {method?: string; ended?: boolean}?]
  >([
    [
      'with a length',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
      {body: 'hello', done: true, kept: true},
    ],
    ['without a reason', 'HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n', {body: '', done: true, kept: true}],
    [
      'in chunks, with extensions and trailers',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n',
      {body: 'hello0123456789', done: true, kept: true},
    ],
    [
      'until the end',
      'HTTP/1.1 200 OK\r\n\r\nhello',
      {body: 'hello', done: true, kept: false},
      {ended: true},
    ],
    [
      'to HEAD',
      'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n',
      {body: '', done: true, kept: true},
      {method: 'HEAD'},
    ],
    ['304', 'HTTP/1.1 304 No\r\ncontent-length: 5\r\n\r\n', {body: '', done: true, kept: true}],
    [
      'after others',
      'HTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 OK\r\n\r\n',
      {body: '', done: true, kept: true},
    ],
    [
      'that closes',
      'HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n',
      {body: '', done: true, kept: false},
    ],
    ['of HTTP/1.0', 'HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok', {body: 'ok', done: true, kept: false}],
    [
      'with bytes behind it',
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200',
      {body: 'ok', done: true, kept: false},
    ],
    [
      'one length twice',
      'HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok',
      {body: 'ok', done: true, kept: true},
    ],
    [
      'that is not whole',
      'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel',
      {body: 'hel', done: false, kept: true},
    ],
  ])('%s is read alike whole and byte by byte', (_name, text, expected, options = {}) => {
    for (const piece of [Infinity, 1, 3]) {
      const {body, done, keptFor} = read(text, {...options, piece})
      expect({body, done, kept: keptFor > 0}).toEqual(expected)
    }
  })

  test('keeps its connection as long as it says', () => {
    expect(read('HTTP/1.1 204 OK\r\nkeep-alive: timeout=5, max=9\r\n\r\n').keptFor).toBe(5000)
  })

  test.each([
    ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['HTTP/2', 'HTTP/2 200 OK\r\n\r\n'],
    ['a status that is none', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a length and chunks', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n'],
    ['a signed length', 'HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n'],
    ['an empty length', 'HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n'],
    ['another coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n'],
    ['chunks twice', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n'],
    ['chunks of HTTP/1.0', 'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\na: b\r\n c: d\r\n\r\n'],
    ['a bare line feed', 'HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n'],
    ['a line feed at the end of a value', 'HTTP/1.1 200 OK\r\na: b\n\r\n\r\n'],
    ['a NUL', 'HTTP/1.1 200 OK\r\na: \u0000\r\n\r\n'],
    ['a name with a space', 'HTTP/1.1 200 OK\r\na : b\r\n\r\n'],
    ['a size that is none', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n'],
    ['a chunk longer than it says', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n'],
    ['a header block without end', `HTTP/1.1 200 OK\r\na: ${'b'.repeat(70_000)}`],
    ['a size line without end', `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;${'b'.repeat(2000)}`],
    ['hints without end', 'HTTP/1.1 103 Hints\r\n\r\n'.repeat(40)],
  ])('with %s is none', (_name, text) => {
    expect(() => read(text)).toThrow(AnswerError)
    expect(() => read(text, {piece: 7})).toThrow(AnswerError)
  })

  test('that ends before its length or its last chunk is none', () => {
    for (const head of ['content-length: 9', 'transfer-encoding: chunked'])
      expect(() => read(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n1\r\na\r\n`, {ended: true})).toThrow(AnswerError)
  })

  test('of any bytes is read or refused, alike in every cut', () => {
    const random = seededRandom(7)
    const seed =
      'HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\na: b\r\n\r\n'
    const outcome = (text: string, piece: number): unknown => {
      try {
        return read(text, {piece})
      } catch (error) {
        expect(error).toBeInstanceOf(AnswerError)
        return 'refused'
      }
    }
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(round % 2 ? seed : seed.replace('content-length: 3\r\n', ''))
      for (let changes = Math.floor(random() * 3); changes >= 0; changes--)
        bytes.writeUInt8(Math.floor(random() * 256), Math.floor(random() * bytes.length))
      const text = bytes.toString('latin1')
      expect(outcome(text, 1)).toEqual(outcome(text, Infinity))
    }
  })
})

describe('a request', () => {
  const request = (over: Partial<UpstreamRequest> = {}): UpstreamRequest => ({
    method: 'GET',
    path: '/',
    headers: [['host', 'a.test']],
    body: null,
    ...over,
  })

  test('has the framing of its body', () => {
    const framing = (over: Partial<UpstreamRequest>) =>
      requestHead(request(over)).split('\r\n').slice(3).join('|')
    expect(framing({})).toBe('|')
    expect(framing({method: 'POST'})).toBe('content-length: 0||')
    expect(framing({method: 'POST', body: Buffer.from('abc')})).toBe('content-length: 3||')
    expect(framing({method: 'POST', body: chunksOf()})).toBe('transfer-encoding: chunked||')
    expect(framing({method: 'POST', body: chunksOf(), length: 7})).toBe('content-length: 7||')
  })

  test.each<[string, Partial<UpstreamRequest>]>([
    ['a line break in a value', {headers: [['a', 'b\r\nc: d']]}],
    ['a character whose low byte is a line break', {headers: [['a', 'b\u010d\u010ac: d']]}],
    ['a name that is none', {headers: [['a b', 'c']]}],
    ['a space in the path', {path: '/a b'}],
    ['a line break in the path', {path: '/\r\na: b'}],
    ['a method that is none', {method: 'GET /x'}],
  ])('with %s is not written', (_name, over) => {
    expect(() => requestHead(request(over))).toThrow(AnswerError)
  })
})

// eslint-disable-next-line @typescript-eslint/require-await
async function* chunksOf(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text)
}

describe('kept connections', () => {
  const open: {server: Server; sockets: Set<Socket>}[] = []
  afterEach(() => {
    for (const {server, sockets} of open.splice(0)) {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  })

  /** A server that answers what it reads as it is told; counts its connections. */
  async function serverOf(answer: (text: string, socket: Socket, connection: number) => void) {
    const sockets = new Set<Socket>()
    let count = 0
    const server = createServer((socket) => {
      const connection = ++count
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('data', (bytes: Buffer) => answer(bytes.toString('latin1'), socket, connection))
    })
    open.push({server, sockets})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const {port} = server.address() as AddressInfo
    const dial = () =>
      new Promise<Socket>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(socket))
        sockets.add(socket)
      })
    return {sender: new Http1Sender(dial), connections: () => count}
  }

  function ask(sender: Http1Sender, over: Partial<UpstreamRequest> = {}): Promise<string> {
    return new Promise((resolve, reject) => {
      let text = ''
      const request = {
        method: 'GET',
        path: '/',
        headers: [['host', 'a.test']] as Headers,
        body: null,
        ...over,
      }
      sender.send(request, {
        onStart: () => undefined,
        onHead: (status) => (text += `${status} `),
        onData: (chunk) => (text += chunk.toString()),
        onEnd: () => resolve(text),
        onError: reject,
      })
    })
  }

  const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

  test('are used again, one request at a time', async () => {
    const {sender, connections} = await serverOf((_text, socket) => socket.write(ok))
    for (let round = 0; round < 5; round++) expect(await ask(sender)).toBe('200 ok')
    expect(connections()).toBe(1)
    expect(await Promise.all(Array.from({length: 300}, () => ask(sender)))).toEqual(
      Array.from({length: 300}, () => '200 ok'),
    )
    expect(connections()).toBeLessThanOrEqual(128)
  })

  test.each([
    ['that say so', ok.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n')],
    ['with bytes that nobody asked for', `${ok}HTTP/1.1 200 OK`],
    ['that are kept for no time', ok.replace('\r\n\r\n', '\r\nkeep-alive: timeout=1\r\n\r\n')],
  ])('are not used again after answers %s', async (_name, answer) => {
    const {sender, connections} = await serverOf((_text, socket) => socket.write(answer))
    for (let round = 0; round < 3; round++) expect(await ask(sender)).toBe('200 ok')
    expect(connections()).toBe(3)
  })

  test('that were closed meanwhile cost no request, unless sending it twice could do harm', async () => {
    const seen: string[] = []
    const {sender, connections} = await serverOf((text, socket, connection) => {
      seen.push(`${connection} ${text.split(' ', 1)[0] ?? ''}`)
      // The first connection takes one request and breaks at the second.
      if (connection % 2 === 1 && seen.filter((one) => one.startsWith(`${connection} `)).length > 1)
        socket.resetAndDestroy()
      else socket.write(ok)
    })
    await ask(sender)
    expect(await ask(sender)).toBe('200 ok')
    expect(connections()).toBe(2)
    const {sender: other} = await serverOf((_text, socket, connection) => {
      if (connection === 1 && socket.bytesRead > 100) socket.resetAndDestroy()
      else socket.write(ok)
    })
    await ask(other)
    await expect(ask(other, {method: 'POST', path: `/${'x'.repeat(100)}`})).rejects.toThrow()
  })

  test('carry bodies that come by and by, and break when their source does', async () => {
    const seen: string[] = []
    const {sender} = await serverOf((text, socket) => {
      seen.push(text)
      if (seen.join('').endsWith('0\r\n\r\n')) socket.write(ok)
    })
    expect(await ask(sender, {method: 'POST', body: chunksOf('abc', '', 'defgh')})).toBe('200 ok')
    expect(seen.join('').split('\r\n\r\n').slice(1).join('\r\n\r\n')).toBe(
      '3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n',
    )
    // eslint-disable-next-line @typescript-eslint/require-await
    const broken = async function* () {
      yield Buffer.from('abc')
      throw new Error('judged')
    }
    seen.length = 0
    await expect(ask(sender, {method: 'POST', body: broken()})).rejects.toThrow('judged')
    expect(seen.join('')).not.toContain('0\r\n\r\n')
    await expect(ask(sender, {method: 'POST', body: chunksOf('abc'), length: 2})).rejects.toThrow(AnswerError)
    await expect(ask(sender, {method: 'POST', body: chunksOf('abc'), length: 4})).rejects.toThrow(AnswerError)
  })

  test('give back an answer that came before the end of its request', async () => {
    const {sender, connections} = await serverOf((_text, socket) => socket.write(ok))
    const endless = async function* () {
      yield Buffer.from('abc')
      await new Promise(() => undefined)
    }
    expect(await ask(sender, {method: 'POST', body: endless()})).toBe('200 ok')
    expect(await ask(sender)).toBe('200 ok')
    expect(connections()).toBe(2)
  })

  test('an upgrade hands over the connection with what came behind the answer', async () => {
    const seen: string[] = []
    const {sender} = await serverOf((text, socket) => {
      seen.push(text)
      socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nhello')
    })
    const {status, socket} = await sender.upgrade('/', [['host', 'a.test']], 'websocket')
    expect(status).toBe(101)
    expect(seen[0]).toContain('connection: Upgrade\r\nupgrade: websocket\r\n\r\n')
    socket.resume()
    expect(
      await new Promise((resolve) => socket.once('data', (bytes: Buffer) => resolve(bytes.toString()))),
    ).toBe('hello')
    await expect(ask(sender)).rejects.toThrow(AnswerError)
  })
})
