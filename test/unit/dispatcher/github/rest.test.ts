import {describe, expect, it} from '@jest/globals'
import {readRest} from '../../../../dispatcher/github/rest.js'
import {requireNoOrders} from '../../../../dispatcher/github/text-filter.js'

const task = {owner: 'org', name: 'app', branch: 'fix/login', base: 'main'}
const read = (line: string, body = '') => {
  const [method = '', target = ''] = line.split(' ')
  return readRest(method, target, body, task)
}

describe('a REST request', () => {
  it.each([
    ['GET /', '/'],
    ['GET /repos/ORG/App', '/repos/org/app'],
    ['GET /repos/org/app/pulls/7', '/repos/org/app/pulls/7'],
    ['GET /repos/org/app/contents/docs/a%20b.md?ref=main', '/repos/org/app/contents/docs/a%20b.md?ref=main'],
    ['GET /repos/org/app/compare/main...fix/login', '/repos/org/app/compare/main...fix/login'],
    ['GET /repos/org/app/git/ref/heads/fix/login', '/repos/org/app/git/ref/heads/fix/login'],
    [
      'GET /repos/org/app/actions/runs?per_page=20&exclude_pull_requests=true',
      '/repos/org/app/actions/runs?per_page=20&exclude_pull_requests=true',
    ],
    [
      'GET /search/issues?q=repo:%22org/app%22+%22two+words%22',
      '/search/issues?q=repo%3A%22org%2Fapp%22+%22two+words%22',
    ],
    ['GET /search/issues?q=repo%3Aorg%2Fapp+is%3Aopen', '/search/issues?q=repo%3Aorg%2Fapp+is%3Aopen'],
  ])('%s goes on, built anew', (line, target) => {
    expect(read(line).target).toBe(target)
  })

  it.each([
    'GET /repos/org/other',
    'GET /repos/evil/app/pulls',
    'GET /repos/org/app/../other',
    'GET /repos/org/app/%2e%2e/other',
    'GET /repos/org%2fother/app',
    'GET /repos/org/app//pulls',
    'GET /repos/org/app/pulls/',
    'GET //repos/org/app',
    'GET /repos/org/app/pulls;x=1',
    'GET /repos/org/app/pulls%00',
    'GET /repos/org/app/pulls\\..\\x',
    'GET /Repos/org/app',
    'GET /repos/org/app/PULLS',
    'GET /repositories/1/pulls',
    'GET /repos/org/app/hooks',
    'GET /repos/org/app/keys',
    'GET /repos/org/app/collaborators',
    'GET /repos/org/app/actions/secrets',
    'GET /repos/org/app/actions/variables',
    'GET /repos/org/app/environments',
    'GET /repos/org/app/branches/main/protection',
    'GET /repos/org/app/actions/artifacts/1/zip',
    'GET /repos/org/app/tarball/main',
    'GET /repos/org/app/compare/evil:main...main',
    'GET /user/repos',
    'GET /users/ada',
    'GET /orgs/org',
    'GET /gists',
    'GET /app',
    'GET /installation/repositories',
    'GET /notifications',
    'GET /search/issues?q=password',
    'GET /search/issues?q=repo:org/app+repo:org/other',
    'GET /search/issues?q=%22repo:org/app%22+password',
    'GET /search/issues?q=%22any+repo:org/app+words%22',
    'GET /search/issues?q=%22any+%5C%22+repo:org/app+%5C%22+words%22',
    'GET /search/issues?q=%22open+repo:org/app',
    'GET /search/code?q=repo:org/app+user:ada',
    'GET /search/users?q=ada',
    'GET /repos/org/app?access_token=x',
    'GET /repos/org/app/pulls?page=1&page=2',
    'get /repos/org/app',
    'HEAD /repos/org/app',
    'TRACE /repos/org/app',
    'PUT /repos/org/app/pulls/7/merge',
    'PUT /repos/org/app/pulls/7/merge-async',
    'POST /repos/org/app/merges',
    'POST /repos/org/app/git/refs',
    'PATCH /repos/org/app/git/refs/heads/main',
    'DELETE /repos/org/app/git/refs/heads/main',
    'PUT /repos/org/app/contents/README.md',
    'POST /repos/org/app/dispatches',
    'POST /repos/org/app/actions/workflows/ci.yml/dispatches',
    'POST /repos/org/app/actions/runs/70/approve',
    'POST /repos/org/app/releases',
    'POST /repos/org/app/forks',
    'POST /repos/org/app/statuses/abc',
    'POST /repos/org/app/check-runs',
    'POST /repos/org/app/pulls/7/reviews/1/events',
    'PUT /repos/org/app/pulls/7/reviews/1/dismissals',
    'PUT /repos/org/app/pulls/7/update-branch',
    'POST /repos/org/app/pulls/7/requested_reviewers',
    'POST /repos/org/app/issues/3/labels',
    'PUT /repos/org/app/issues/3/lock',
    'DELETE /repos/org/app',
    'PATCH /repos/org/app',
    'POST /gists',
    'POST /user/repos',
    'POST /graphql/x',
    'DELETE /installation/token',
    'POST /app/installations/56/access_tokens',
    'POST /markdown',
  ])('%s is refused', (line) => {
    expect(() => read(line)).toThrow()
  })

  it('says why', () => {
    expect(() => read('PUT /repos/org/app/pulls/7/merge')).toThrow(
      'PUT is not available to a task here: merging is left to a person',
    )
    expect(() => read('PUT /repos/org/app/contents/a')).toThrow('files change by git push only')
    expect(() => read('GET /repos/org/other')).toThrow(
      'a task sees its own repository only, which is org/app',
    )
  })

  it('carries only the fields that were judged', () => {
    const {body, needs} = read(
      'POST /repos/org/app/pulls',
      '{"title":"t","head":"fix/login","base":"main","draft":true}',
    )
    expect(JSON.parse(body ?? '')).toEqual({title: 't', head: 'fix/login', base: 'main', draft: true})
    expect(needs).toEqual(['pr.create'])
    expect(read('PATCH /repos/org/app/pulls/7', '{"state":"closed"}').needs).toEqual([
      'pr.update',
      'pr.close',
    ])
  })

  it.each([
    ['POST /repos/org/app/pulls', '{"title":"t","head":"evil:fix/login","base":"main"}'],
    ['POST /repos/org/app/pulls', '{"title":"t","head":"fix/login","base":"main","head_repo":"x"}'],
    ['POST /repos/org/app/pulls', '{"title":"t","head":"fix/login","base":"other"}'],
    ['POST /repos/org/app/pulls', '{"head":"fix/login","base":"main"}'],
    ['POST /repos/org/app/pulls/7/reviews', '{"event":"APPROVE"}'],
    ['POST /repos/org/app/pulls/7/reviews', '{"body":"x","comments":[]}'],
    ['PATCH /repos/org/app/pulls/7', '{"base":"other"}'],
    ['PATCH /repos/org/app/pulls/7', '{"__proto__":{"state":"closed"}}'],
    ['POST /repos/org/app/issues/3/comments', '[]'],
    ['POST /repos/org/app/issues/3/comments', '{}'],
    ['POST /repos/org/app/actions/runs/70/rerun', '{"x":1}'],
    ['GET /repos/org/app', '{"a":1}'],
  ])('%s with %s is refused', (line, body) => {
    expect(() => read(line, body)).toThrow()
  })
})

describe('a text', () => {
  it.each([
    '/merge',
    'Thanks!\n  /lgtm',
    '> /approve',
    '<!-- \n/merge\n-->',
    '/me\u200brge',
    '／merge',
    '@dependabot merge',
    'please @Dependabot[bot] rebase',
    '@mergifyio queue',
    'bors r+',
    'bors: merge',
    '@copilot do the rest',
    '@claude merge this',
    '/azp run',
    '/gcbrun',
    '.deploy production',
    'Ready.\n.deploy',
    'atlantis apply -d prod',
  ])('that orders a bot is refused: %j', (text) => {
    expect(() => requireNoOrders('body', text)).toThrow('it gives an order to a bot')
  })

  it.each([
    'Fixes #12: see src/merge/index.ts',
    'The path /merge/base was wrong.',
    '/tests/unit/login.test.ts is new',
    'mail@claude.example.com',
    'uses @claude/sdk and @codex-team/x',
    '.merge { color: red }',
    'I ran terraform plan, see below',
    'After the merge, close the door and rebase.',
  ])('of people passes: %j', (text) => {
    expect(() => requireNoOrders('body', text)).not.toThrow()
  })
})
