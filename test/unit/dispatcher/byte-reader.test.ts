import {Readable} from 'node:stream'
import {describe, expect, it} from '@jest/globals'
import {Sheet} from '../../../dispatcher/scan/sheet.js'
import {ByteReader} from '../../../dispatcher/wire/byte-reader.js'

const readerOf = (...chunks: string[]) =>
  new ByteReader(Readable.from(chunks.map((chunk) => Buffer.from(chunk))) as AsyncIterable<Buffer>)

describe('a reader of bytes', () => {
  it.each([
    [['abcdefghij']],
    [['a', 'bc', 'defghi', 'j']],
    ['abcdefghij'.split('')],
    [['', 'abcde', '', 'fghij']],
  ])('fills and passes over, in whatever pieces %j they come', async (chunks) => {
    const reader = readerOf(...chunks)
    const target = Buffer.alloc(3)
    expect(await reader.fill(target)).toBe(3)
    expect(target.toString()).toBe('abc')
    expect(await reader.skip(4)).toBe(4)
    expect((await reader.take(2)).toString()).toBe('hi')
    expect(await reader.fill(Buffer.alloc(0))).toBe(0)
    expect(await reader.skip(0)).toBe(0)
    expect(await reader.fill(target)).toBe(1)
    expect(target.toString()).toBe('jbc')
    expect(await reader.skip(1)).toBe(0)
  })
})

describe('a sheet', () => {
  it('takes texts one after the other until it is full', () => {
    const sheet = new Sheet(new ArrayBuffer(6))
    sheet.room(2).write('ab')
    sheet.room(0)
    sheet.room(3).write('cde')
    expect(sheet.ends).toEqual([2, 2, 5])
    expect(Buffer.from(sheet.bytes).toString('latin1')).toBe('abcde\0')
    expect([sheet.fits(1), sheet.fits(2)]).toEqual([true, false])
    expect(() => sheet.room(2)).toThrow('full')
  })
})
