import {Readable} from 'node:stream'
import {buffer} from 'node:stream/consumers'
import {describe, expect, it} from '@jest/globals'
import {shownBy, unrepeated} from '../../../dispatcher/gate/unrepeated.js'

const token = 'sentinel-aabaab'
const texts = shownBy(`Basic ${Buffer.from(`user:${token}`).toString('base64')}`)
const pass = (pieces: Buffer[]) => buffer(Readable.from(pieces).pipe(unrepeated(texts)))
const cut = (bytes: Buffer, size: number) =>
  Array.from({length: Math.ceil(bytes.length / size)}, (_, n) => bytes.subarray(n * size, (n + 1) * size))

/** A stream that fails leaves what it passed before. */
async function passed(pieces: Buffer[]): Promise<{ok: boolean; text: string}> {
  const chunks: Buffer[] = []
  const stream = unrepeated(texts).on('data', (chunk: Buffer) => chunks.push(chunk))
  const ok = new Promise<boolean>((resolve) =>
    stream.on('end', () => resolve(true)).on('error', () => resolve(false)),
  )
  Readable.from(pieces).pipe(stream)
  return {ok: await ok, text: Buffer.concat(chunks).toString('latin1')}
}

describe('what was shown to an upstream', () => {
  it.each([1, 2, 3, 7, 14, 100])('does not come back, in pieces of %i bytes', async (size) => {
    for (const text of texts) {
      const {ok, text: seen} = await passed(cut(Buffer.from(`before ${text} after`), size))
      expect(ok).toBe(false)
      expect('before '.startsWith(seen)).toBe(true)
    }
  })

  it.each([1, 3, 100])('is the only thing that does not, in pieces of %i bytes', async (size) => {
    const near = Buffer.from(`sentinel-aabaac ${token.slice(0, -1)} sentinel-sentinel-aab`)
    expect((await pass(cut(near, size))).equals(near)).toBe(true)
  })

  it('is a token, a password, or nothing', () => {
    expect(shownBy(`Bearer ${token}`)).toEqual([token])
    expect(texts).toContain(token)
    expect(shownBy(undefined)).toEqual([''])
  })
})
