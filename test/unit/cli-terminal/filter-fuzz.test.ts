import {readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, expect, it} from '@jest/globals'
import {TerminalFilter} from '../../../cli/terminal/filter.js'
import {onlyAllowed} from './judge.js'

const corpus = join(import.meta.dirname, 'corpus')
const samples = readdirSync(corpus).map((name) => ({name, bytes: readFileSync(join(corpus, name))}))

/** mulberry32: the same inputs in every run. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const pieces = [
  '\u001b', '\u001b[', '\u001b]', '\u001bP', '\u001b_', '\u001b^', '\u001b\\', '\u0007', '\u0018', '?', '>', ';', ':', '$', ' ',
  '0', '1', '2', '4', '52', '1049', '2004', 'h', 'l', 'm', 'n', 'c', 't', 'q', 'J', 'r', 'u', 'p', '(', '%', '\u009b', '\u009d', 'é', '🎉', '\r\n',
].map((text) => Buffer.from(text)) // prettier-ignore
const raw = [0x00, 0x05, 0x7f, 0x80, 0x9b, 0x9d, 0xc0, 0xc2, 0xe2, 0xed, 0xf0, 0xf4, 0xff].map((b) =>
  Buffer.from([b]),
)

function generated(seed: number): Buffer {
  const next = random(seed)
  const parts: Buffer[] = []
  for (let i = 0; i < 60; i++) {
    const from = next() < 0.8 ? pieces : raw
    parts.push(from[Math.floor(next() * from.length)]!)
  }
  return Buffer.concat(parts)
}

function mutated(bytes: Buffer, seed: number): Buffer {
  const next = random(seed)
  const copy = Buffer.from(bytes)
  for (let i = 0; i < 8 && copy.length > 0; i++)
    copy[Math.floor(next() * copy.length)] = Math.floor(next() * 256)
  return copy.subarray(0, Math.ceil(next() * copy.length))
}

function whole(bytes: Buffer): Buffer {
  return new TerminalFilter().write(bytes)
}

function judge(bytes: Buffer, seed: number): void {
  const output = whole(bytes)
  if (!onlyAllowed(output)) throw new Error(`not allowed: ${JSON.stringify(output.toString())}`)
  expect(whole(output).equals(output)).toBe(true)
  const next = random(seed)
  const filter = new TerminalFilter()
  const parts: Buffer[] = []
  for (let i = 0; i < bytes.length;) {
    const length = 1 + Math.floor(next() * 3)
    parts.push(filter.write(bytes.subarray(i, i + length)))
    i += length
  }
  expect(Buffer.concat(parts).equals(output)).toBe(true)
  expect(onlyAllowed(Buffer.from(filter.reset()))).toBe(true)
}

describe('whatever comes in', () => {
  it.each(samples)('$name: whole, split anywhere and mutated, only allowed sequences leave', ({bytes}) => {
    judge(bytes, 1)
    for (let seed = 0; seed < 200; seed++) judge(mutated(bytes, seed), seed)
  })

  it('random sequences: only allowed ones leave, the same however they are split', () => {
    for (let seed = 0; seed < 3000; seed++) judge(generated(seed), seed)
  })

  it('the judge itself refuses what the samples contain', () => {
    const hostile = samples.filter(({name}) => name.startsWith('hostile'))
    expect(hostile.length).toBeGreaterThan(3)
    for (const {bytes} of hostile) {
      let allowed: boolean
      try {
        allowed = onlyAllowed(bytes)
      } catch {
        allowed = false
      }
      expect(allowed).toBe(false)
    }
  })
})
