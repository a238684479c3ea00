import {existsSync, readFileSync, readdirSync} from 'node:fs'
import {dirname, join, normalize} from 'node:path'
import {describe, expect, it} from '@jest/globals'

const pages = [
  ...readdirSync('.').filter((file) => file.endsWith('.md')),
  ...readdirSync('docs', {recursive: true, encoding: 'utf8'}).map((file) => join('docs', file)),
  join('examples', 'README.md'),
].filter((file) => file.endsWith('.md'))

const text = (page: string) => readFileSync(page, 'utf8')
const rows = (page: string) =>
  text(page)
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('|---'))
/** Paths in backticks that lie in this repository. */
const paths = (line: string) =>
  [...line.matchAll(/`([a-z.]+(?:\/[\w.@-]+)+\/?)`/g)]
    .map(([, path]) => path ?? '')
    .filter((path) => !path.startsWith('refs/'))

describe('the documentation', () => {
  it.each(pages)('%s links to pages that exist', (page) => {
    const links = [...text(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target]) => target ?? '')
    const own = links.filter((target) => !/^[a-z]+:/.test(target))
    expect(own.filter((target) => !existsSync(normalize(join(dirname(page), target))))).toEqual([])
  })

  it.each(['docs/security/guarantees.md', 'docs/architecture.md'])('%s names files that exist', (page) => {
    const named = [...new Set(text(page).split('\n').flatMap(paths))]
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((path) => !existsSync(path))).toEqual([])
  })

  it('names for every guarantee a file that keeps it and a test that attacks it', () => {
    const guarantees = rows('docs/security/guarantees.md').filter((row) => /^\| G\d+ \|/.test(row))
    expect(guarantees.length).toBeGreaterThan(10)
    const without = guarantees.filter((row) => {
      const named = paths(row)
      return (
        !named.some((path) => !path.startsWith('test/')) || !named.some((path) => path.startsWith('test/'))
      )
    })
    expect(without).toEqual([])
  })

  it('numbers its decisions once each, and lists them', () => {
    const records = readdirSync('docs/decisions').filter((file) => /^\d{4}-/.test(file))
    const listed = rows('docs/decisions/README.md').flatMap((row) => /\((\d{4}-[^)]+)\)/.exec(row)?.[1] ?? [])
    expect(listed.sort()).toEqual(records.sort())
    expect(new Set(records.map((file) => file.slice(0, 4))).size).toBe(records.length)
  })

  it('answers ten questions of the architecture with one file each', () => {
    const questions = rows('docs/architecture.md').filter((row) => row.startsWith('| Where is'))
    expect(questions).toHaveLength(10)
    expect(questions.filter((row) => paths(row).length !== 1)).toEqual([])
  })
})
