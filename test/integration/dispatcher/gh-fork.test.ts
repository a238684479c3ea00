import {resolve} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher} from '../../support/dispatcher.js'
import {FakeGithub} from '../../support/fake-github.js'
import {GhClient} from '../../support/gh-client.js'
import {realGh} from '../../support/real-gh.js'

/** A clone as the pod makes it where branches go to a fork: unmodified git and gh know which is which. */
const found = realGh()
if ('missing' in found) console.warn(`skipped: ${found.missing}`)
const withGh = 'path' in found ? describe : describe.skip
const ORIGIN = 'https://github.com/org/app'
const FORK = 'https://github.com/bot/app.git'

withGh('gh in a task that pushes to a fork', () => {
  let github: FakeGithub
  let door: TestDispatcher
  let client: GhClient
  const gh = (...args: string[]) => client.run('home/shop', 'path' in found ? found.path : 'gh', ...args)
  const git = (...args: string[]) => client.run('home/shop', 'git', ...args)
  const clone = (home: string, branch: string, existing: '0' | '1') =>
    client.run(
      '.',
      'env',
      `HOME=${door.box.path(home)}`,
      ...[`CAGE_REMOTE=${ORIGIN}`, `CAGE_FORK=${FORK}`, 'CAGE_PROJECT=shop', 'CAGE_BASE=main'],
      ...[`CAGE_BRANCH=${branch}`, `CAGE_EXISTING=${existing}`],
      ...['CAGE_AUTHOR_NAME=cage', 'CAGE_AUTHOR_EMAIL=cage@shop.invalid', 'CAGE_TASK_FILES=/nonexistent'],
      ...['bash', resolve('images/agent/clone')],
    )

  beforeAll(async () => {
    github = await FakeGithub.start()
    github.fork('bot', 57)
    door = await TestDispatcher.start()
    expect(await door.tellFork(github)).toMatchObject({code: 0})
    const upstream = {kind: 'github', url: ORIGIN, fork: FORK} as const
    client = await GhClient.open(door, door.githubTask('fix', {branch: 'fix/login', upstream}))
    expect(await clone('home', 'fix/login', '0')).toMatchObject({code: 0})
  })
  afterAll(async () => {
    await client.stop()
    await door.stop()
    await github.stop()
  })

  it.each([
    ['by itself', []],
    ['to origin', ['origin', 'fix/login']],
    ['to origin, which becomes its upstream', ['-u', 'origin', 'HEAD']],
  ])('a push %s lands in the fork', async (_, args) => {
    const tip = door.box.commit('home/shop', 'fix/login', `${args.join('-')}.js`, '1\n')
    const before = github.refs('org/app.git')
    expect(await git('push', '-q', ...args)).toMatchObject({code: 0})
    expect(github.refs('bot/app.git')).toContain(`${tip} commit\trefs/heads/fix/login`)
    expect(github.refs('org/app.git')).toBe(before)
    // What `cage task rm` counts as lost.
    expect(await git('rev-list', '--count', '--branches', '--not', '--remotes')).toMatchObject({
      stdout: '0\n',
    })
  })

  it('opens, finds and changes the pull request into the upstream', async () => {
    expect(await git('fetch', '-q', 'origin', 'main')).toMatchObject({code: 0})
    const created = await gh('pr', 'create', '--title', 'Fix login', '--body', 'It logs in.')
    expect(created).toMatchObject({code: 0, stdout: expect.stringContaining('github.com/org/app/pull/')})
    expect(github.world.changes).toEqual(['open app bot:fix/login'])
    for (const [line, shown] of [
      [['pr', 'view'], 'Fix login'],
      [['pr', 'status'], 'Fix login'],
      [['pr', 'checks'], 'build\tpass'],
      [['pr', 'diff'], '+a line'],
      [['repo', 'view'], 'read me'],
      [['issue', 'list'], 'an issue of app'],
      [['pr', 'comment', '--body', 'Ready.'], 'issuecomment'],
      [['pr', 'edit', '--title', 'Fix the login'], ''],
      [['pr', 'close', 'bot:fix/login', '--comment', 'Later.'], ''],
    ] as const)
      expect({line, ...(await gh(...line))}).toMatchObject({
        line,
        code: 0,
        stdout: expect.stringContaining(shown),
      })
    const mine = github.world.app.pulls.find(({fork}) => fork === 'bot')
    expect(mine).toMatchObject({title: 'Fix the login', state: 'CLOSED', head: 'fix/login'})
    expect(mine?.comments.map(({body}) => body)).toEqual(['Ready.', 'Later.'])
  })

  it('goes on with a branch that is in the fork already', async () => {
    expect(await clone('second', 'fix/login', '1')).toMatchObject({code: 0})
    const status = await client.run('second/shop', 'git', 'status', '-sb')
    expect(status.stdout).toBe('## fix/login...fork/fix/login\n')
    expect(await clone('third', 'nowhere', '1')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`the branch nowhere cannot be had from ${FORK}`),
    })
  })
})
