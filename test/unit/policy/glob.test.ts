import {describe, expect, test} from '@jest/globals'
import {canonicalHost, canonicalPath, isRefused} from '../../../policy/canonical.js'
import {compileAncestorGlob, compileGlob, globProblem} from '../../../policy/glob.js'
import {seededRandom} from '../../support/secret-sample.js'

const matches = (pattern: string, text: string) => compileGlob(pattern)(text)

describe('globs', () => {
  test.each([
    ['/v1/**', '/v1/', true],
    ['/v1/**', '/v1/a/b', true],
    ['/v1/**', '/v1', false],
    ['/v1/**', '/v12/a', false],
    ['/v1/*', '/v1/a', true],
    ['/v1/*', '/v1/a/b', false],
    ['/v1/*', '/v1/', true],
    ['/**/admin', '/admin', true],
    ['/**/admin', '/a/b/admin', true],
    ['/**/admin', '/a/b/admin/x', false],
    ['/a/**/z', '/a/z', true],
    ['/a/**/z', '/a/b/c/z', true],
    ['/a/**/m/**/z', '/a/1/m/2/3/z', true],
    ['/a/**/m/**/z', '/a/1/z', false],
    ['**', 'a', true],
    ['**', 'a/b', true],
    ['**/.gitattributes', '.gitattributes', true],
    ['*.yml', 'a.yml', true],
    ['*.yml', 'a/b.yml', false],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['/x', '/X', false],
    ['/[a]', '/a', false],
    ['/a.b', '/axb', false],
    ['/a+', '/aa', false],
  ])('%s on %s: %s', (pattern, text, expected) => expect(matches(pattern, text)).toBe(expected))

  test('without regard to case when asked', () => {
    expect(compileGlob('.GitHub/**', {caseInsensitive: true})('.github/X')).toBe(true)
  })

  test('folders above what a pattern names', () => {
    const above = compileAncestorGlob('a/*/c/**')
    expect(['a', 'a/x', 'a/x/c', 'b', 'a/x/d', 'a/x/c/d'].map(above)).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
    ])
    expect(['a', 'a/b'].map(compileAncestorGlob('a/b'))).toEqual([true, false])
    expect(compileAncestorGlob('**/x')('a')).toBe(false)
  })

  test.each(['', 'a**', '/**x/', 'a\nb', 'x'.repeat(1025)])('%j is no glob', (pattern) => {
    expect(globProblem(pattern)).toBeDefined()
  })

  /** The same meaning, as a regular expression: right, but not linear. */
  function reference(pattern: string): RegExp {
    const parts = pattern.split('/')
    const source = parts.map((part, index) => {
      const last = index === parts.length - 1
      if (part === '**') return last ? (index === 0 ? '.*' : '[^/]*(?:/[^/]*)*') : '(?:[^/]*/)*'
      const text = part
        .replace(/[.+^${}()|[\]\\]/g, '\\$&')
        .replace(/\*/g, '[^/]*')
        .replace(/\?/g, '[^/]')
      return last ? text : `${text}/`
    })
    return new RegExp(`^${source.join('')}$`)
  }

  test('mean what the reference means', () => {
    const random = seededRandom(5)
    const pick = (list: readonly string[]) => list[Math.floor(random() * list.length)] ?? ''
    const make = (parts: readonly string[], most: number) =>
      Array.from({length: 1 + Math.floor(random() * most)}, () => pick(parts)).join('/')
    for (let round = 0; round < 5000; round++) {
      const pattern = make(['a', 'b', '*', '**', 'a*', '*b', '?', 'a*b*', ''], 5)
      const text = make(['a', 'b', 'ab', 'abab', 'ba', ''], 6)
      expect([pattern, text, matches(pattern, text)]).toEqual([pattern, text, reference(pattern).test(text)])
    }
  })

  test('many stars cost no more than text times pattern', () => {
    const pattern = `/${'a*'.repeat(200)}b`
    expect(matches(pattern, `/${'a'.repeat(8000)}`)).toBe(false)
    expect(matches(`${'/**/a'.repeat(50)}/b`, '/a'.repeat(4000))).toBe(false)
  })
})

describe('canonical forms are their own canonical form', () => {
  const random = seededRandom(9)
  const pieces = [
    'a',
    'B',
    '.',
    '..',
    '/',
    '//',
    '%2e',
    '%2E',
    '%41',
    '%2f',
    '%25',
    '%252e',
    ';x',
    '@s',
    '%e2%82%ac',
    '%',
    '~',
    ':',
    '\\',
    '?',
    '-',
  ]
  const make = (most: number, from: readonly string[]) =>
    Array.from(
      {length: 1 + Math.floor(random() * most)},
      () => from[Math.floor(random() * from.length)],
    ).join('')

  test('paths', () => {
    let kept = 0
    for (let round = 0; round < 20_000; round++) {
      const path = canonicalPath(`/${make(8, pieces)}`)
      if (typeof path !== 'string') continue
      kept++
      expect(canonicalPath(path)).toBe(path)
      expect(path).toMatch(/^\/(?!\/)/)
      expect(path.split('/').slice(1)).not.toContain('..')
      expect(path.split('/').slice(1)).not.toContain('.')
      expect(path).not.toMatch(/%2f|%5c|%00|\/\//i)
    }
    expect(kept).toBeGreaterThan(1000)
  })

  test('hosts', () => {
    const parts = [
      'a',
      'B',
      '.',
      '0x7f',
      '127',
      '1',
      'xn--',
      'ü',
      '-',
      '_',
      '。',
      '１',
      '::',
      '[',
      ']',
      ':',
      '%',
      '@',
      'com',
    ]
    let kept = 0
    for (let round = 0; round < 20_000; round++) {
      const host = canonicalHost(make(6, parts))
      if (isRefused(host)) continue
      kept++
      expect(canonicalHost(host.host)).toEqual(host)
      expect(host.host).toMatch(/^[a-z0-9._:-]+$/)
    }
    expect(kept).toBeGreaterThan(500)
  })
})
