import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher} from '../../support/dispatcher.js'
import {FakeGithub} from '../../support/fake-github.js'
import {GhClient} from '../../support/gh-client.js'
import {realGh} from '../../support/real-gh.js'

/** Unmodified gh and git of an agent, GitHub behind the dispatcher; GitHub's own state says what happened. */
const found = realGh()
if ('missing' in found) console.warn(`skipped: ${found.missing}`)
const withGh = 'path' in found ? describe : describe.skip

withGh('gh in a task', () => {
  let github: FakeGithub
  let door: TestDispatcher
  let client: GhClient
  const gh = (...args: string[]) => client.run('agent', 'path' in found ? found.path : 'gh', ...args)
  const own = () => {
    const pull = github.world.app.pulls.find(({head, fork}) => head === 'fix/login' && fork === undefined)
    if (!pull) throw new Error('there is no pull request of the task')
    return pull
  }

  beforeAll(async () => {
    github = await FakeGithub.start()
    door = await TestDispatcher.start()
    door.tellGithub(github)
    client = await GhClient.open(door, door.githubTask('fix', {branch: 'fix/login'}))
    expect(
      await client.run('.', 'git', 'clone', '-q', 'https://github.com/org/app.git', 'agent'),
    ).toMatchObject({code: 0})
    door.box.git('agent', 'checkout', '-q', '-b', 'fix/login')
    door.box.commit('agent', 'fix/login', 'login.js', 'export const login = 1\n')
  })
  afterAll(async () => {
    await client.stop()
    await door.stop()
    await github.stop()
  })

  it('opens the pull request of its branch, which git pushed', async () => {
    const pushed = await client.run('agent', 'git', 'push', '-u', 'origin', 'fix/login')
    expect(pushed).toMatchObject({code: 0, stderr: expect.stringContaining('fix/login -> fix/login')})
    expect(github.refs()).toContain('refs/heads/fix/login')
    const created = await gh(
      'pr',
      'create',
      '--title',
      'Fix login',
      '--body',
      'It logs in.',
      '--base',
      'main',
      '--draft',
    )
    expect(created).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^https:\/\/github\.com\/org\/app\/pull\/\d+\n$/),
    })
    expect(own()).toMatchObject({
      title: 'Fix login',
      body: 'It logs in.',
      base: 'main',
      draft: true,
      state: 'OPEN',
    })
  })

  it.each([
    ['pr view', 'Fix login'],
    ['pr view --json title,state,statusCheckRollup,reviews', '"state":"OPEN"'],
    ['pr view --comments', ''],
    ['pr list', 'feature/of-a-person'],
    ['pr status', 'Fix login'],
    ['pr checks', 'build\tpass'],
    ['pr diff', '+a line'],
    ['issue view 3', 'an issue of app'],
    ['issue view 3 --comments', 'I see it too.'],
    ['issue list', 'an issue of app'],
    ['run list', 'fix/login'],
    ['run view 70', 'build in 0s'],
    ['run view 70 --log', 'it was built'],
    ['workflow list', 'CI'],
    ['repo view', 'read me'],
    ['search issues login --repo org/app', ''],
    ['api repos/org/app', '"full_name":"org/app"'],
    ['api user', 'cage-app[bot]'],
    ['api repos/{owner}/{repo}/pulls --paginate --jq .[].number', '5\n6\n'],
    ['api graphql -f query={viewer{login}}', 'cage-app[bot]'],
    ['auth status', 'Logged in to github.com'],
  ])('reads: %s', async (line, shown) => {
    const {code, stdout, stderr} = await gh(...line.split(' '))
    expect({code, stdout, stderr}).toMatchObject({code: 0, stdout: expect.stringContaining(shown)})
  })

  it('changes, comments and closes its own pull request', async () => {
    const number = String(own().number)
    for (const line of [
      ['pr', 'ready'],
      ['pr', 'edit', '--title', 'Fix the login', '--body', 'For good.'],
      ['pr', 'comment', '--body', 'Ready for a look.'],
      ['pr', 'comment', '--edit-last', '--body', 'Ready for another look.'],
      ['pr', 'review', '--comment', '--body', 'I am not sure about line 1.'],
      ['issue', 'comment', '3', '--body', 'Fixed in a pull request.'],
      ['run', 'rerun', '70'],
      ['pr', 'close', number],
      ['pr', 'reopen', number],
    ])
      expect({line, ...(await gh(...line))}).toMatchObject({line, code: 0})
    expect(own()).toMatchObject({draft: false, title: 'Fix the login', body: 'For good.', state: 'OPEN'})
    expect(own().comments.map(({body}) => body)).toEqual(['Ready for another look.'])
    expect(own().reviews).toMatchObject([{state: 'COMMENTED', body: 'I am not sure about line 1.'}])
    expect(github.world.app.issues[0]?.comments.at(-1)?.body).toBe('Fixed in a pull request.')
    expect(github.world.changes).toContain('POST /repos/org/app/actions/runs/70/rerun')
  })

  it.each([
    ['pr merge --squash --admin', 'merging is left to a person'],
    ['pr merge --squash --auto', 'merging is left to a person'],
    ['pr review --approve', 'approving and requesting changes is left to a person'],
    ['pr review --request-changes --body no', 'approving and requesting changes is left to a person'],
    [
      'pr comment 5 --body hello',
      'a task changes the pull request of its own branch only, which is fix/login',
    ],
    ['pr close 5', 'a task changes the pull request of its own branch only, which is fix/login'],
    ['pr edit 6 --title mine', 'a task changes the pull request of its own branch only, which is fix/login'],
    ['pr comment --body /merge', 'it gives an order to a bot'],
    [
      'pr create --title x --body y --base other --head fix/login',
      'baseRefName must be the base of this task, main',
    ],
    [
      'pr create --title x --body y --base main --head main2',
      'headRefName must be the branch of this task, fix/login',
    ],
    ['issue create --title x --body y', 'this task was not given the right issue.create'],
    ['issue close 3', 'the rest is left to people'],
    ['run rerun 71', 'this run is not one of the branch of this task, fix/login'],
    ['workflow run ci.yml', 'are left to people'],
    ['release create v1 --notes x', 'releases, packages and pages are left to people'],
    ['secret list', 'this is not among what a task may read on GitHub'],
    ['secret set X --body y', 'this is not among what a task may read on GitHub'],
    ['label create x', 'the rest is left to people'],
    ['repo view org/other', 'a task sees its own repository only, which is org/app'],
    ['repo edit --enable-auto-merge', 'are left to people'],
    ['repo delete org/app --yes', 'are left to people'],
    ['repo fork --clone=false', 'nothing is published outside the repository'],
    ['gist list', 'a task sees its own repository only'],
    ['search repos x', 'this is not among what a task may read on GitHub'],
    ['api repos/org/other', 'a task sees its own repository only, which is org/app'],
    ['api -X DELETE repos/org/app', 'are left to people'],
    ['api -X PUT repos/org/app/pulls/5/merge', 'merging is left to a person'],
    ['api repos/org/app/git/refs -f ref=refs/heads/x -f sha=0', 'branches and tags move by git push only'],
    [
      'api graphql -f query=mutation{mergePullRequest(input:{pullRequestId:"x"}){clientMutationId}}',
      'merging is left to a person',
    ],
  ])('is told why not: %s', async (line, reason) => {
    const before = [...github.world.changes]
    const {code, stdout, stderr} = await gh(...line.split(' '))
    expect({code, said: `${stdout}${stderr}`}).toMatchObject({
      code: 1,
      said: expect.stringContaining('cage: '),
    })
    expect(`${stdout}${stderr}`).toContain(reason)
    expect(github.world.changes).toEqual(before)
  })
})
