import {spawn} from 'node:child_process'
import {afterAll, beforeAll, describe, expect, it, jest} from '@jest/globals'
import {uid} from '../../core/layout.js'
import {processRunner} from '../../core/process.js'
import {listBranches} from '../../tasks/git/branches.js'
import {compareBranch, fetchBranch} from '../../tasks/git/compare.js'
import type {FarEnd} from '../../tasks/git/far-end.js'
import type {LocalRepository} from '../../tasks/git/git-command.js'
import {seedHosted, syncBase} from '../../tasks/git/hosted.js'
import {push} from '../../tasks/git/push.js'
import {TestDispatcher} from '../support/dispatcher.js'
import {sampleSecret} from '../support/secret-sample.js'

jest.setTimeout(120_000)

let dispatcher: TestDispatcher
let local: LocalRepository
let farEnd: FarEnd

/** `dispatcher.js serve` with its streams, as exec would run it in the container `git`. */
function servedBy({box, volume, separate}: TestDispatcher, repository = 'shop.git'): FarEnd {
  return {
    name: `the hosted repository ${repository}`,
    serve: (service, {stdin, stdout, stderr}) =>
      new Promise((resolve, reject) => {
        const program = `${box.path('code')}/dispatcher.js`
        const protocol = service === 'upload-pack' ? ['--protocol', 'version=2'] : []
        const args = [program, 'serve', service, repository, ...protocol, '--volume', volume]
        const child = spawn(process.execPath, args, {
          env: {},
          ...(separate ? {uid: uid.git, gid: uid.git} : {}),
        })
        stdin.pipe(child.stdin)
        child.stdin.on('error', () => undefined)
        child.stdout.pipe(stdout, {end: false})
        child.stderr.pipe(stderr, {end: false})
        child.on('error', reject)
        child.on('close', (code) => resolve(code ?? 1))
      }),
  }
}

beforeAll(async () => {
  dispatcher = await TestDispatcher.start()
  dispatcher.control({op: 'repository.init', repository: 'shop.git', defaultBranch: 'main'})
  const {box} = dispatcher
  box.init('home')
  for (let index = 0; index < 5; index++) box.commit('home', 'main', `file${index}`, `${index}\n`)
  local = {runner: processRunner, directory: box.path('home'), env: box.env}
  farEnd = servedBy(dispatcher)
})
afterAll(() => dispatcher.stop())

describe('work goes through the real dispatcher and home again', () => {
  it('is seeded with the base alone', async () => {
    dispatcher.box.commit('home', 'private', 'secret', 'x')
    const seeded = await seedHosted(local, farEnd, 'main')
    expect(dispatcher.refs()).toEqual({'refs/heads/main': seeded.to})
    expect(await listBranches(local, farEnd)).toEqual({
      head: 'main',
      branches: [{branch: 'main', oid: seeded.to}],
    })
  })

  it('what a task pushed is compared and fetched', async () => {
    const task = dispatcher.task('fix')
    const {box} = dispatcher
    dispatcher.clone(task, 'work')
    box.git('work', 'checkout', '-q', '-b', 'fix')
    const tip = box.commit('work', 'fix', 'new.txt', 'hello\n')
    expect(dispatcher.gitAs(task, 'work', 'push', 'origin', 'fix').code).toBe(0)
    const comparison = {local, farEnd, branch: 'fix', base: 'main'}
    expect(await compareBranch(comparison)).toMatchObject({files: [{path: 'new.txt', added: 1, removed: 0}]})
    await fetchBranch(comparison)
    expect(box.git('home', 'rev-parse', 'cage/fix')).toBe(tip)
  })

  it('the person moves the base, and is told about a secret without being stopped', async () => {
    const {box} = dispatcher
    const to = box.commit('home', 'main', 'key.txt', `${sampleSecret('ghp_<crc:36>')}\n`)
    let said = ''
    const results = await push(local, farEnd, ['refs/heads/main:refs/heads/main'], {
      onMessage: (chunk) => (said += chunk.toString()),
    })
    expect(results).toEqual([{ref: 'refs/heads/main'}])
    expect(said).toContain('remote: cage:')
    expect(dispatcher.refs()['refs/heads/main']).toBe(to)
    expect(await syncBase(local, farEnd, 'main')).toMatchObject({from: to, to})
  })

  it('a branch that a person rewrote is refused without force and taken with it', async () => {
    const {box} = dispatcher
    box.git('home', 'update-ref', 'refs/heads/side', 'main~1')
    expect(await push(local, farEnd, ['refs/heads/side:refs/heads/side'])).toEqual([{ref: 'refs/heads/side'}])
    box.git('home', 'update-ref', 'refs/heads/side', 'main~3')
    expect(await push(local, farEnd, ['refs/heads/side:refs/heads/side'])).toEqual([
      {ref: 'refs/heads/side', reason: expect.any(String) as unknown},
    ])
    expect(await push(local, farEnd, ['+refs/heads/side:refs/heads/side'])).toEqual([
      {ref: 'refs/heads/side'},
    ])
    expect(await push(local, farEnd, [':refs/heads/side'])).toEqual([{ref: 'refs/heads/side'}])
  })

  it('a repository that is not there is named', async () => {
    await expect(listBranches(local, servedBy(dispatcher, 'other.git'))).rejects.toThrow(
      'there is no repository "other.git"',
    )
  })
})
