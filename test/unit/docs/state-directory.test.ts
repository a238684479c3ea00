import {readFileSync} from 'node:fs'
import {basename} from 'node:path'
import {expect, it} from '@jest/globals'
import {projectFiles} from '../../../provision/state/layout.js'

it('the state directory is documented file by file', () => {
  const {directory, ...files} = projectFiles('/state', 'shop-0a1b2c3d')
  expect(directory).toBe('/state/cage/shop-0a1b2c3d')
  const page = readFileSync('docs/reference/state-directory.md', 'utf8')
  const missing = Object.values(files).filter((file) => !new RegExp(`\`${basename(file)}/?\``).test(page))
  expect(missing).toEqual([])
})
