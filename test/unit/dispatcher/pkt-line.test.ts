import {describe, expect, it} from '@jest/globals'
import {
  band,
  flush,
  FramingError,
  MAX_BAND,
  packet,
  PacketReader,
  type Packet,
} from '../../../dispatcher/wire/pkt-line.js'

async function* chunksOf(bytes: Buffer, size: number): AsyncGenerator<Buffer, void, void> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size))
}

async function readAll(bytes: Buffer, size = 7): Promise<(Packet | undefined)[]> {
  const reader = new PacketReader(chunksOf(bytes, size))
  const packets: (Packet | undefined)[] = []
  for (;;) {
    const next = await reader.next()
    packets.push(next)
    if (!next) return packets
  }
}

describe('packets', () => {
  it('come back as they were written, however the stream is cut', async () => {
    const bytes = Buffer.concat([packet('hello'), packet(''), flush, packet(Buffer.from([0, 1, 2]))])
    for (const size of [1, 2, 3, 4, 5, 9, 100]) {
      expect(await readAll(bytes, size)).toEqual([
        {kind: 'data', payload: Buffer.from('hello')},
        {kind: 'data', payload: Buffer.alloc(0)},
        {kind: 'flush'},
        {kind: 'data', payload: Buffer.from([0, 1, 2])},
        undefined,
      ])
    }
  })

  it('may have lengths in upper case and up to 65520 bytes', async () => {
    const [first] = await readAll(Buffer.concat([Buffer.from('000A'), Buffer.from('sixsix')]))
    expect(first).toEqual({kind: 'data', payload: Buffer.from('sixsix')})
    const large = Buffer.alloc(65516, 1)
    expect((await readAll(packet(large), 4096))[0]).toEqual({kind: 'data', payload: large})
    expect(() => packet(Buffer.alloc(65517))).toThrow(RangeError)
  })

  it.each([
    '0001',
    '0002',
    '0003',
    'fff1',
    'ffff',
    '-001',
    '+00a',
    '0x0a',
    ' 00a',
    '00',
    '000',
    '0009abc',
    'zzzz',
    '00\u00e9',
  ])('%j is not a packet', async (text) => {
    await expect(readAll(Buffer.from(text, 'latin1'))).rejects.toThrow(FramingError)
  })

  it('leave the rest of the stream to others', async () => {
    const reader = new PacketReader(chunksOf(Buffer.concat([packet('x'), flush, Buffer.from('PACKdata')]), 5))
    await reader.next()
    await reader.next()
    const rest: Buffer[] = []
    for await (const chunk of reader.rest()) rest.push(chunk)
    expect(Buffer.concat(rest).toString()).toBe('PACKdata')
  })

  it('are forgotten up to a limit', async () => {
    expect(await new PacketReader(chunksOf(Buffer.alloc(100), 10)).drain(100)).toBe(true)
    expect(await new PacketReader(chunksOf(Buffer.alloc(101), 10)).drain(100)).toBe(false)
  })
})

describe('bands', () => {
  it('cut long texts into packets', async () => {
    const packets = await readAll(band(2, Buffer.alloc(MAX_BAND + 1, 0x61)), 50_000)
    expect(packets.map((one) => (one?.kind === 'data' ? one.payload.length : 0))).toEqual([
      MAX_BAND + 1,
      2,
      0,
    ])
    expect(packets[1]).toEqual({kind: 'data', payload: Buffer.from('\x02a')})
  })
})

describe('lines', () => {
  it('are handed over as soon as they are complete', async () => {
    let release: () => void = () => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    async function* slow(): AsyncGenerator<Buffer, void, void> {
      yield Buffer.from('first\nsec')
      await held
      yield Buffer.from('ond')
    }
    const reader = new PacketReader(slow())
    expect((await reader.line())?.toString()).toBe('first')
    release()
    expect((await reader.line())?.toString()).toBe('second')
    expect(await reader.line()).toBeUndefined()
  })

  it('have a limit', async () => {
    await expect(new PacketReader(chunksOf(Buffer.alloc(300, 0x61), 100)).line(150)).rejects.toThrow(
      RangeError,
    )
  })
})
