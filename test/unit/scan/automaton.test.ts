import {describe, expect, test} from '@jest/globals'
import {Automaton} from '../../../scan/automaton.js'
import {entropy} from '../../../scan/entropy.js'
import {escapePlaces} from '../../../scan/escapes.js'
import {seededRandom} from '../../support/secret-sample.js'

function find(words: readonly string[], text: string): string[] {
  const found: string[] = []
  new Automaton(words).find(Buffer.from(text, 'latin1'), (word, last) =>
    found.push(`${words[word] ?? ''}@${last - (words[word] ?? '').length + 1}`),
  )
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

describe('the automaton', () => {
  test('finds what a plain search finds, overlaps included', () => {
    const random = seededRandom(3)
    const make = (length: number) =>
      Array.from({length}, () => 'abAB-'[Math.floor(random() * 5)] ?? '').join('')
    for (let round = 0; round < 500; round++) {
      const words = [
        ...new Set(
          Array.from({length: 1 + Math.floor(random() * 6)}, () =>
            make(1 + Math.floor(random() * 4)).toLowerCase(),
          ),
        ),
      ]
      const text = make(40)
      expect({words, text, found: find(words, text)}).toEqual({words, text, found: naive(words, text)})
    }
  })

  test('words that are parts of one another', () => {
    expect(find(['he', 'she', 'his', 'hers'], 'uSHErs')).toEqual(['he@2', 'hers@2', 'she@1'])
  })

  test('nothing in, nothing out', () => {
    expect(find([], 'abc')).toEqual([])
    expect(find(['abc'], '')).toEqual([])
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
