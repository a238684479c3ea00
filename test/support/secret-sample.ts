import {base62Checksum} from '../../scan/checksum.js'

/** Generates examples from templates such as `npm_<a62:36>`, so that no token stands in the source. Seeded: always the same. */

const upper = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
const lower = 'abcdefghijklmnopqrstuvwxyz'
const digits = '0123456789'
const alphabets: Record<string, string> = {
  a62: upper + lower + digits,
  AZ09: upper + digits,
  az: lower,
  az09: lower + digits,
  b32: `${upper}234567`,
  b32l: `${lower}234567`,
  b64: `${upper}${lower}${digits}+/`,
  b64u: `${upper}${lower}${digits}-_`,
  bech: '023456789ACDEFGHJKLMNPQRSTUVWXYZ',
  dec: digits,
  hex: `${digits}abcdef`,
  HEX: `${digits}ABCDEF`,
}

/** A small deterministic generator (mulberry32); returns numbers in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

export function sampleSecret(template: string, random: () => number = seededRandom(1)): string {
  const pick = (alphabet: string, length: number) =>
    Array.from({length}, () => alphabet[Math.floor(random() * alphabet.length)] ?? '').join('')
  return template.replace(/<(\w+):(\d+)>/g, (whole, name: string, count: string) => {
    if (name === 'uuid') return uuid((length) => pick(alphabets['hex'] ?? '', length))
    if (name === 'crc') {
      const payload = pick(alphabets['a62'] ?? '', Number(count) - 6)
      return payload + base62Checksum(payload)
    }
    const alphabet = alphabets[name]
    if (!alphabet) throw new Error(`unknown class in ${whole}`)
    return pick(alphabet, Number(count))
  })
}

function uuid(hex: (length: number) => string): string {
  return `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`
}
