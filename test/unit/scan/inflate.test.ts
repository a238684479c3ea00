import {createHash} from 'node:crypto'
import {constants, deflateSync} from 'node:zlib'
import {describe, expect, test} from '@jest/globals'
import {compressedPlaces, inflateStart} from '../../../scan/inflate.js'

const {Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED} = constants
/** bytes that no two runs differ in */
const noise = (seed: number, length: number) =>
  Buffer.concat(
    Array.from({length: Math.ceil(length / 32)}, (_, n) =>
      createHash('sha256').update(`${seed} ${n}`).digest(),
    ),
  ).subarray(0, length)

describe('compressed data', () => {
  test.each(
    [Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED].flatMap((strategy) =>
      [0, 1, 6, 9].map((level): [number, number] => [strategy, level]),
    ),
  )('of strategy %d and level %d is found wherever it begins', (strategy, level) => {
    for (let seed = 0; seed < 40; seed++) {
      const text = Buffer.concat([noise(seed, seed * 7), Buffer.from('a line of text\n'.repeat(seed))])
      const packed = deflateSync(text, {strategy, level})
      const bytes = Buffer.concat([noise(seed + 100, seed), packed])
      const place = compressedPlaces(bytes).find(({start}) => start === seed)
      expect(place).toBeDefined()
      expect(inflateStart(bytes.subarray(place?.data), 1 << 20)).toEqual(text)
    }
  })

  test('is hardly ever seen where there is none', () => {
    const megabyte = noise(1, 1 << 20)
    expect(megabyte.toString('latin1').match(/x[\x01\x9c\xda]/g)?.length).toBeGreaterThan(30)
    let seen = 0
    for (let at = 0; at < megabyte.length; at += 1 << 16)
      seen += compressedPlaces(megabyte.subarray(at, at + (1 << 16))).length
    expect(seen).toBeLessThan(25)
  })
})
