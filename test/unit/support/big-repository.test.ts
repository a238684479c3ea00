import {execFileSync} from 'node:child_process'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {bigRepository} from '../../support/big-repository.js'

describe('the big repository of the cluster tests', () => {
  let home: string
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', join(home, 'big'), ...args], {encoding: 'utf8'}).trim()

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'cage-big-'))
    await bigRepository(join(home, 'big'), {commits: 300, files: 30})
  })
  afterAll(() => rm(home, {force: true, recursive: true}))

  it('has every commit on its one branch, merges included', () => {
    expect(git('rev-list', '--count', 'main')).toBe('300')
    expect(git('branch', '--format=%(refname:short)')).toBe('main')
    expect(Number(git('rev-list', '--count', '--merges', 'main'))).toBeGreaterThan(5)
  })

  it('is whole and checked out', () => {
    expect(git('fsck', '--strict')).toBe('')
    expect(git('status', '--porcelain')).toBe('')
  })
})
