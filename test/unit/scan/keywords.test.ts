import {describe, expect, test} from '@jest/globals'
import {KeywordSearch, MIN_KEYWORD} from '../../../scan/keywords.js'
import {FingerprintMatcher, fingerprintsOf, formsOf, type OnValue} from '../../../scan/exact.js'
import {entropy} from '../../../scan/entropy.js'
import {escapePlaces} from '../../../scan/escapes.js'
import {ValueMatcher} from '../../../scan/values.js'
import {sampleSecret, seededRandom} from '../../support/secret-sample.js'

/** @param shift where the text begins in a word of four bytes */
function find(words: readonly string[], text: string, shift = 0): string[] {
  const found: string[] = []
  const bytes = Buffer.from(`${' '.repeat(shift)}${text}`, 'latin1').subarray(shift)
  new KeywordSearch(words).find(bytes, (word, at) => found.push(`${words[word] ?? ''}@${at}`))
  return found.sort()
}

function naive(words: readonly string[], text: string): string[] {
  const folded = text.toLowerCase()
  return words
    .flatMap((word) => {
      const at: string[] = []
      for (
        let from = folded.indexOf(word.toLowerCase());
        from >= 0;
        from = folded.indexOf(word.toLowerCase(), from + 1)
      )
        at.push(`${word}@${from}`)
      return at
    })
    .sort()
}

describe('the search for keywords', () => {
  test('finds what a plain search finds, overlaps included', () => {
    const random = seededRandom(3)
    const make = (length: number) =>
      Array.from({length}, () => 'abAB-'[Math.floor(random() * 5)] ?? '').join('')
    for (let round = 0; round < 500; round++) {
      const words = [
        ...new Set(
          Array.from({length: 1 + Math.floor(random() * 6)}, () =>
            make(MIN_KEYWORD + Math.floor(random() * 4)).toLowerCase(),
          ),
        ),
      ]
      const text = make(Math.floor(random() * 60))
      for (const shift of [0, 1, 2, 3])
        expect({words, text, found: find(words, text, shift)}).toEqual({
          words,
          text,
          found: naive(words, text),
        })
    }
  })

  test('words that are parts of one another', () => {
    expect(find(['her', 'she', 'his', 'hers'], 'uSHErs')).toEqual(['her@2', 'hers@2', 'she@1'])
  })

  test('nothing in, nothing out', () => {
    expect(find([], 'abc')).toEqual([])
    expect(find(['abc'], '')).toEqual([])
  })

  test('words whose capitals count are found among others, at every place', () => {
    const words = ['AKIA', 'sk-', 'token', 'Pat', '0Q~', 'eyJ']
    const search = new KeywordSearch(words, new Set(['AKIA', 'sk-', 'Pat', '0Q~', 'eyJ']))
    for (const written of [...words, 'TOKEN', 'ToKen'])
      for (let before = 0; before < 9; before++)
        for (let after = 0; after < 9; after++) {
          const found: number[][] = []
          const bytes = Buffer.from('-'.repeat(before) + written + '~'.repeat(after))
          search.find(bytes, (word, at) => found.push([word, at]))
          expect(found).toEqual([
            [
              words.findIndex((word) => word === written || (/token/i.test(written) && word === 'token')),
              before,
            ],
          ])
        }
  })

  test('a word that would be everywhere is refused, and one that hides another', () => {
    expect(() => new KeywordSearch(['ab'])).toThrow('too short a word: ab')
    expect(() => new KeywordSearch(['abc', 'ABC'])).toThrow('a word twice: abc')
  })
})

test('entropy in bits per character', () => {
  expect(entropy('')).toBe(0)
  expect(entropy('aaaa')).toBeCloseTo(0)
  expect(entropy('abab')).toBe(1)
  expect(entropy('abcd')).toBe(2)
})

test('escapes of printable characters, each with its length', () => {
  const places = (text: string) =>
    escapePlaces(Buffer.from(text, 'latin1')).map(({at, length, byte}) => [
      at,
      length,
      String.fromCharCode(byte),
    ])
  expect(places('%41x%2F')).toEqual([
    [0, 3, 'A'],
    [4, 3, '/'],
  ])
  expect(places('\\u0041\\x42\\u{43}\\u{000044}\\/')).toEqual([
    [0, 6, 'A'],
    [6, 4, 'B'],
    [10, 6, 'C'],
    [16, 10, 'D'],
    [26, 2, '/'],
  ])
  expect(places('%4 %zz %0a %80 \\n \\u4e2d \\u00e9 \\u{1F600} \\u{} \\ %')).toEqual([])
})

describe('known values', () => {
  const random = seededRandom(5)
  const texts = ['cgt_', 'aaaaaaaaaa', '-----END', 'x'].map(
    (start) => start + sampleSecret('<b64u:40>', random),
  )
  const values = [...texts, 'password', '--------'].map((value, index) => ({id: String(index), value}))
  const search = (matcher: Pick<ValueMatcher, 'find'>, bytes: Buffer) => {
    const found: string[] = []
    const onValue: OnValue = ({id, length}, offset) => found.push(`${id} ${offset} ${length}`)
    matcher.find(bytes, onValue, () => true)
    return found.sort()
  }

  test('are found as their fingerprints are, wherever they lie', () => {
    const known = new ValueMatcher(values)
    const blind = new FingerprintMatcher(fingerprintsOf(values))
    let count = 0
    for (const {text} of formsOf(values))
      for (let before = 0; before < 9; before++)
        for (const after of [0, 1, 2, 3]) {
          const bytes = Buffer.concat([Buffer.alloc(before, '-'), text, Buffer.alloc(after, 'x')])
          const shifted = Buffer.concat([Buffer.alloc(before), bytes]).subarray(before)
          const found = search(known, shifted)
          expect(found).toEqual(search(blind, shifted))
          count += found.length
        }
    expect(count).toBeGreaterThanOrEqual(formsOf(values).length * 36)
  })

  test('are found wherever they lie when all of them are long', () => {
    const long = values.slice(0, 4)
    const known = new ValueMatcher(long)
    for (const {id, text} of formsOf(long))
      for (let before = 0; before < 17; before++)
        for (let after = 0; after < 9; after++) {
          const bytes = Buffer.concat([Buffer.alloc(before, '-'), text, Buffer.alloc(after, 'x')])
          expect(search(known, bytes)).toContain(`${id} ${before} ${text.length}`)
        }
  })

  test('what only begins like one costs nothing', () => {
    const cost = (body: string) => {
      let sum = 0
      new ValueMatcher(values.slice(0, 4)).find(
        Buffer.from(body),
        () => undefined,
        (bytes) => (sum += bytes) > 0,
      )
      return sum
    }
    expect(cost(`${'-'.repeat(1000)}${'a'.repeat(9)}${'x'.repeat(1000)}`)).toBe(0)
    expect(cost(texts[0] ?? '')).toBe(44)
  })
})
