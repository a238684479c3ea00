import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {bigRepository} from '../support/big-repository.js'
import {cage, cageOk, git, inTask, run, scratch} from './harness.js'

const COMMITS = 4000
const branches = ['big/a', 'big/b'] as const

// Speaks receive-pack without git: one command that deletes main.
const ownClient = [
  'const run = (command) => require("child_process").execSync(command).toString().trim()',
  'const old = run("git ls-remote origin refs/heads/main").slice(0, 40)',
  'const line = old + " " + "0".repeat(40) + " refs/heads/main\\0report-status\\n"',
  'const body = (line.length + 4).toString(16).padStart(4, "0") + line + "0000"',
  'const headers = {"content-type": "application/x-git-receive-pack-request"}',
  'const url = run("git remote get-url origin") + "/git-receive-pack"',
  'fetch(url, {method: "POST", headers, body}).then(async (response) => console.log(await response.text()))',
].join('; ')

// A history of several thousand commits beside the tier's small one, as a second base in the same hosted repository.
describe('two tasks on a history of several thousand commits', () => {
  const tip = async (branch: string) =>
    (await git('ls-remote', 'cage', `refs/heads/${branch}`)).split('\t')[0]
  const task = async (branch: string, script: string) => {
    const {code, stdout, stderr} = await inTask(branch, script)
    return {code, said: stdout + stderr}
  }

  beforeAll(async () => {
    const big = join(scratch, 'big')
    await bigRepository(big, {commits: COMMITS})
    await git('fetch', '--quiet', big, 'main:refs/heads/big-base')
    await git('push', '--quiet', 'cage', 'big-base')
    for (const branch of branches)
      await cageOk(['task', 'new', branch, '--base', 'big-base', '--agent', 'shell'])
  }, 600_000)
  afterAll(async () => {
    for (const branch of branches) await cage(['task', 'rm', branch, '--force'])
    await run('git', ['branch', '-D', 'big-base'], {cwd: process.env['CAGE_TEST_REPOSITORY'] ?? ''})
  }, 300_000)

  it.each(branches)(
    '%s has the whole history, commits, pushes and fetches with plain git',
    async (branch) => {
      const work = [
        'set -e',
        'test "$(git rev-list --count HEAD)" = "$1"',
        'git fetch --quiet origin',
        'echo new >> src/room1/file1.txt && git commit -qam "Change one file of many"',
        'git push -q origin HEAD',
        'git rev-parse HEAD',
      ].join('; ')
      const {code, stdout, stderr} = await cage([
        'task',
        'exec',
        branch,
        '--',
        'bash',
        '-c',
        work,
        'bash',
        String(COMMITS),
      ])
      expect({code, stderr: code === 0 ? '' : stderr}).toEqual({code: 0, stderr: ''})
      expect(await tip(branch)).toBe(stdout.trim().split('\n').at(-1))
    },
  )

  it.each([
    ['the other branch', 'git push origin HEAD:refs/heads/big/b'],
    ['the base', 'git push origin HEAD:refs/heads/big-base'],
    ['the default branch', 'git push origin HEAD:main'],
    ['two refs, its own first', 'git push origin HEAD:refs/heads/big/a +HEAD:refs/heads/main'],
    ['a new branch', 'git push origin HEAD:refs/heads/big/c'],
    ['a branch below its own name in another case', 'git push origin HEAD:refs/heads/BIG/A'],
    ['a deletion of the other branch', 'git push origin :refs/heads/big/b'],
    ['a deletion of its own branch', 'git push origin :refs/heads/big/a'],
    ['a rewrite of its own branch', 'git push --force origin origin/big-base~1:refs/heads/big/a'],
    ['a tag', 'git tag -f v9 && git push origin v9'],
    ['a note', 'git push origin HEAD:refs/notes/x'],
    ['a deletion of the default branch by a client of its own', `node -e '${ownClient}'; exit 1`],
  ])('big/a cannot push %s', async (_what, command) => {
    const before = await git('ls-remote', 'cage')
    // A new commit each time, so that there is something to send.
    const {code, said} = await task('big/a', `git commit -q --allow-empty -m "another"; ${command}`)
    expect(code).not.toBe(0)
    expect(said).toMatch(/cage|rejected|denied|refused|not allowed|not the branch/i)
    expect(await git('ls-remote', 'cage')).toBe(before)
  })

  it('and its own branch still moves afterwards', async () => {
    const {code} = await task('big/a', 'git push -q origin HEAD')
    expect(code).toBe(0)
  })
})
