import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {dirname, resolve} from 'node:path'
import {expect} from '@jest/globals'

/** Compares with a file below test/golden; UPDATE_GOLDEN=1 writes it instead. */
export function expectGolden(path: string, text: string): void {
  const file = resolve('test/golden', path)
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(file), {recursive: true})
    writeFileSync(file, text)
  }
  expect(text).toBe(readFileSync(file, 'utf8'))
}
