import {mkdtempSync, readdirSync, rmSync, statSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, expect, it} from '@jest/globals'
import {projectId} from '../../../../cli/project-identity.js'
import {personId} from '../../../../provision/state/person.js'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cage-person-'))
})
afterEach(() => rmSync(home, {recursive: true}))

it('a person has one random word, also when two commands begin at once', async () => {
  const words = await Promise.all(Array.from({length: 8}, () => personId(home)))
  expect(new Set(words).size).toBe(1)
  expect(words[0]).toMatch(/^[0-9a-f]{32}$/)
  expect(await personId(home)).toBe(words[0])
  expect(readdirSync(join(home, 'cage'))).toEqual(['person'])
  expect(statSync(join(home, 'cage', 'person')).mode & 0o777).toBe(0o600)
})

it('two people at the same path have two projects in a shared cluster, and one machine each', () => {
  const repository = {directory: '/workspaces/shop', commonDirectory: '/workspaces/shop/.git'}
  const ids = ['a', 'b', undefined].map((person) => projectId('shop', repository, person))
  expect(new Set(ids).size).toBe(3)
  expect(ids.every((id) => /^shop-[0-9a-f]{8}$/.test(id))).toBe(true)
})
