import {createSocket} from 'node:dgram'
import {createServer, type AddressInfo} from 'node:net'
import {appendFileSync, mkdtempSync, readFileSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import {
  buildQuery,
  buildResponse,
  parseQuery,
  parseResponse,
  type Question,
} from '../../../proxy/names/message.js'
import {answer} from '../../../proxy/names/responder.js'
import {parseNameServer, Resolver} from '../../../proxy/names/resolver.js'
import {isSynthetic, SyntheticNames} from '../../../proxy/names/synthetic.js'

const query = (name: string, type = 1, id = 7) => {
  const packet = buildQuery(id, name)
  packet.writeUInt16BE(type, packet.length - 4)
  return packet
}
const code = (packet: Buffer | undefined) => (packet ? packet.readUInt16BE(2) & 0xf : undefined)
const records = (packet: Buffer | undefined) => packet?.readUInt16BE(6)
const known = (name: string) => (name === 'allowed.test' ? '198.18.0.9' : undefined)

describe('the responder', () => {
  test('gives a known name its address and no other kind of record', () => {
    const given = answer(query('allowed.test'), known)
    expect([...given!.subarray(-4)]).toEqual([198, 18, 0, 9])
    for (const type of [28, 16, 65, 64, 15, 255, 6, 2]) {
      const other = answer(query('allowed.test', type), known)
      expect([code(other), records(other)]).toEqual([0, 0])
    }
  })

  test('knows no other name', () => {
    for (const name of ['evil.test', 'x.allowed.test', 'allowed.test.evil', 'test'])
      expect(code(answer(query(name), known))).toBe(3)
  })

  test('folds case and echoes the question as it was asked', () => {
    const asked = query('AlloWed.TEST')
    const given = answer(asked, known)
    expect(records(given)).toBe(1)
    expect(given!.subarray(12, asked.length)).toEqual(asked.subarray(12))
  })

  test('answers EDNS with EDNS', () => {
    const asked = Buffer.concat([query('allowed.test'), Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0])])
    asked.writeUInt16BE(1, 10)
    expect(answer(asked, known)!.readUInt16BE(10)).toBe(1)
  })

  test.each([
    ['an answer', (p: Buffer) => p.writeUInt8(0x80 | p[2]!, 2), undefined],
    ['a status request', (p: Buffer) => p.writeUInt8(0x10, 2), 4],
    ['an update', (p: Buffer) => p.writeUInt8(0x28, 2), 4],
    ['two questions', (p: Buffer) => p.writeUInt16BE(2, 4), 1],
    ['no question', (p: Buffer) => p.writeUInt16BE(0, 4), 1],
    ['an answer section', (p: Buffer) => p.writeUInt16BE(1, 6), 1],
    ['a compressed name', (p: Buffer) => p.writeUInt8(0xc0, 12), 1],
    ['a label beyond the packet', (p: Buffer) => p.writeUInt8(63, 12), 1],
    ['a NUL in a label', (p: Buffer) => p.writeUInt8(0, 14), 1],
    ['a dot in a label', (p: Buffer) => p.writeUInt8(46, 14), 1],
    ['a space in a label', (p: Buffer) => p.writeUInt8(32, 14), 1],
    ['class CHAOS', (p: Buffer) => p.writeUInt16BE(3, p.length - 2), 5],
  ])('refuses %s', (_name, damage, expected) => {
    const packet = query('allowed.test')
    damage(packet)
    expect(code(answer(packet, known))).toBe(expected)
  })

  test('refuses bytes behind the question, and what is too short or long says nothing', () => {
    expect(code(answer(Buffer.concat([query('allowed.test'), Buffer.from([0])]), known))).toBe(1)
    expect(answer(Buffer.alloc(11), known)).toBeUndefined()
    expect(answer(Buffer.alloc(1300), known)).toBeUndefined()
  })
})

describe('synthetic addresses', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cage-names-'))
  })
  afterEach(() => rmSync(directory, {recursive: true}))

  test('belong to one name each, over restarts', () => {
    const first = new SyntheticNames(directory)
    const a = first.admit('a.test')
    const b = first.admit('b.test')
    expect([a, b]).toEqual(['198.18.0.1', '198.18.0.2'])
    expect(first.admit('a.test')).toBe(a)
    const second = new SyntheticNames(directory)
    expect(second.nameOf('198.18.0.2')).toBe('b.test')
    expect(second.admit('c.test')).toBe('198.18.0.3')
  })

  test('survive a line that a crash cut short', () => {
    new SyntheticNames(directory).admit('a.test')
    appendFileSync(join(directory, 'names'), '\nb.test 33')
    const again = new SyntheticNames(directory)
    expect(again.size).toBe(1)
    again.admit('c.test')
    expect(new SyntheticNames(directory).nameOf(again.admit('c.test')!)).toBe('c.test')
    expect(readFileSync(join(directory, 'names'), 'utf8')).toContain('\nc.test ')
  })

  test('give names under a wildcard a small budget', () => {
    const names = new SyntheticNames(directory)
    expect(names.admit(`${'x'.repeat(64)}.wild.test`, 'x'.repeat(64))).toBeUndefined()
    expect(names.admit('a.b.c.d.e.wild.test', 'a.b.c.d.e')).toBeUndefined()
    for (let i = 0; i < 256; i++) expect(names.admit(`n${i}.wild.test`, `n${i}`)).toBeDefined()
    expect(names.admit('one-more.wild.test', 'one-more')).toBeUndefined()
    expect(names.admit('n7.wild.test', 'n7')).toBeDefined()
    expect(names.admit('exact.test')).toBeDefined()
    expect(new SyntheticNames(directory).admit('one-more.wild.test', 'one-more')).toBeUndefined()
  })

  test('lie in 198.18.0.0/15 and nowhere else', () => {
    expect(['198.18.0.1', '198.19.255.255'].every(isSynthetic)).toBe(true)
    expect(['198.17.0.1', '198.20.0.1', '1.198.18.0'].some(isSynthetic)).toBe(false)
  })
})

describe('the resolver', () => {
  const asQuestion = (packet: Buffer) => parseQuery(packet) as Question
  const record = (owner: Buffer, type: number, data: Buffer, ttl = 5) => {
    const head = Buffer.alloc(10)
    head.writeUInt16BE(type, 0)
    head.writeUInt16BE(1, 2)
    head.writeUInt32BE(ttl, 4)
    head.writeUInt16BE(data.length, 8)
    return Buffer.concat([owner, head, data])
  }
  const wire = (name: string) =>
    Buffer.concat([
      ...name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
      Buffer.from([0]),
    ])
  const response = (asked: Buffer, ...answers: Buffer[]) => {
    const packet = Buffer.concat([asked, ...answers])
    packet.writeUInt16BE(0x8180, 2)
    packet.writeUInt16BE(answers.length, 6)
    return packet
  }

  test('takes addresses of the name and its aliases only', () => {
    const asked = query('a.test')
    const given = response(
      asked,
      record(Buffer.from([0xc0, 12]), 5, wire('alias.test'), 9),
      record(wire('alias.test'), 1, Buffer.from([1, 2, 3, 4]), 7),
      record(wire('other.test'), 1, Buffer.from([6, 6, 6, 6])),
    )
    expect(parseResponse(given, asked, 'a.test')).toEqual({
      code: 0,
      truncated: false,
      addresses: ['1.2.3.4'],
      ttl: 7,
    })
  })

  test.each([
    ['another id', (p: Buffer) => p.writeUInt16BE(8, 0)],
    ['a query', (p: Buffer) => p.writeUInt16BE(0x0100, 2)],
    ['another question', (p: Buffer) => p.write('z', 13)],
    ['a pointer to itself', (p: Buffer) => p.writeUInt8(p.length - 16, p.length - 15)],
    ['a record beyond the packet', (p: Buffer) => p.writeUInt16BE(400, p.length - 6)],
  ])('does not take %s', (_name, damage) => {
    const asked = query('a.test')
    const given = response(asked, record(Buffer.from([0xc0, 12]), 1, Buffer.from([1, 2, 3, 4])))
    expect(parseResponse(given, asked, 'a.test')?.addresses).toEqual(['1.2.3.4'])
    damage(given)
    expect(parseResponse(given, asked, 'a.test')).toBeUndefined()
  })

  async function nameServer(reply: (asked: Buffer) => Buffer[]) {
    const datagram = createSocket('udp4')
    await new Promise<void>((resolve) => datagram.bind(0, '127.0.0.1', resolve))
    const {port} = datagram.address()
    let count = 0
    datagram.on('message', (packet, from) => {
      count++
      for (const part of reply(packet)) datagram.send(part, from.port, from.address)
    })
    return {server: {address: '127.0.0.1', port}, asked: () => count, close: () => datagram.close()}
  }

  test('asks once for what runs or is still valid, and waits for the answer to its own question', async () => {
    let now = 0
    const fake = await nameServer((asked) => {
      const forged = response(
        Buffer.from(asked),
        record(Buffer.from([0xc0, 12]), 1, Buffer.from([6, 6, 6, 6])),
      )
      forged.writeUInt16BE((asked.readUInt16BE(0) + 1) & 0xffff, 0)
      return [forged, buildResponse(asked, asQuestion(asked), {code: 0, ttl: 30, address: '1.2.3.4'})]
    })
    const resolver = new Resolver([fake.server], () => now)
    expect(await Promise.all([resolver.resolve('a.test'), resolver.resolve('a.test')])).toEqual([
      ['1.2.3.4'],
      ['1.2.3.4'],
    ])
    now = 29_000
    await resolver.resolve('a.test')
    expect(fake.asked()).toBe(1)
    now = 31_000
    await resolver.resolve('a.test')
    expect(fake.asked()).toBe(2)
    fake.close()
  })

  test('asks the next server when one fails, and says why when all do', async () => {
    const broken = await nameServer((asked) => [buildResponse(asked, asQuestion(asked), {code: 2, ttl: 0})])
    const good = await nameServer((asked) => [
      buildResponse(asked, asQuestion(asked), {code: 0, ttl: 1, address: '1.2.3.4'}),
    ])
    expect(await new Resolver([broken.server, good.server]).resolve('a.test')).toEqual(['1.2.3.4'])
    await expect(new Resolver([broken.server]).resolve('a.test')).rejects.toThrow(
      'a.test does not resolve: response code 2',
    )
    const unknown = await nameServer((asked) => [buildResponse(asked, asQuestion(asked), {code: 3, ttl: 0})])
    await expect(new Resolver([unknown.server]).resolve('a.test')).rejects.toMatchObject({
      code: 'RESOLVE_FAILED',
    })
    await expect(new Resolver([]).resolve('a.test')).rejects.toThrow('no resolver is set')
    for (const fake of [broken, good, unknown]) fake.close()
  })

  test('asks again over TCP what does not fit', async () => {
    const fake = await nameServer((asked) => {
      const cut = response(asked)
      cut.writeUInt16BE(0x8380, 2)
      return [cut]
    })
    const stream = createServer((socket) => {
      socket.once('data', (data) => {
        const asked = data.subarray(2)
        const given = buildResponse(asked, asQuestion(asked), {code: 0, ttl: 1, address: '1.2.3.4'})
        const length = Buffer.alloc(2)
        length.writeUInt16BE(given.length)
        socket.write(length)
        setTimeout(() => socket.end(given), 10)
      })
    })
    await new Promise<void>((resolve) => stream.listen(fake.server.port, '127.0.0.1', resolve))
    expect((stream.address() as AddressInfo).port).toBe(fake.server.port)
    expect(await new Resolver([fake.server]).resolve('a.test')).toEqual(['1.2.3.4'])
    fake.close()
    stream.close()
  })

  test('reads its address as the grant writes it', () => {
    expect(parseNameServer('10.0.2.3')).toEqual({address: '10.0.2.3', port: 53})
    expect(parseNameServer('10.0.2.3:5353')).toEqual({address: '10.0.2.3', port: 5353})
    expect(parseNameServer('fd00::1')).toEqual({address: 'fd00::1', port: 53})
    expect(parseNameServer('[fd00::1]:5353')).toEqual({address: 'fd00::1', port: 5353})
  })
})
