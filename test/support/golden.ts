import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {expect} from '@jest/globals'

/** Compares with a file in test/golden; `UPDATE_GOLDEN=1` writes it. */
export function expectGolden(name: string, text: string): void {
  const path = join(import.meta.dirname, '..', 'golden', name)
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(path), {recursive: true})
    writeFileSync(path, text)
  }
  expect(text).toBe(readFileSync(path, 'utf8'))
}
