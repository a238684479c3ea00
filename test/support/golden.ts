import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {dirname} from 'node:path'
import {expect} from '@jest/globals'

/** Compares with a golden file below the folder of the test; UPDATE_GOLDEN=1 writes it. */
export function expectGolden(text: string, file: URL): void {
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(file.pathname), {recursive: true})
    writeFileSync(file, text)
  }
  if (!existsSync(file)) throw new Error(`${file.pathname} is missing: UPDATE_GOLDEN=1 writes it`)
  expect(text).toBe(readFileSync(file, 'utf8'))
}
