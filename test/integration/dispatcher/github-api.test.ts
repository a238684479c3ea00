import {execFileSync} from 'node:child_process'
import {readdirSync, readFileSync} from 'node:fs'
import {afterAll, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {FakeGithub} from '../../support/fake-github.js'
import type {FakePull} from '../../support/fake-github-world.js'
import {sampleSecret} from '../../support/secret-sample.js'

let github: FakeGithub
let door: TestDispatcher
let task: TestTask
let other: TestTask
let mine: FakePull

/** Requests as a program without manners makes them; what GitHub was asked to do is what counts. */
beforeAll(async () => {
  github = await FakeGithub.start()
  door = await TestDispatcher.start()
  expect(door.tellGithub(github)).toMatchObject({code: 0})
  task = door.githubTask('fix', {branch: 'fix/login'})
  other = door.githubTask('second', {branch: 'second'})
  mine = github.world.open(github.world.app, {title: 't', head: 'fix/login', base: 'main'})
})
afterAll(async () => {
  await door.stop()
  await github.stop()
})
beforeEach(() => {
  github.world.changes.length = 0
  github.seen.length = 0
  github.status = undefined
  github.echoes = false
})

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  json: {message?: string; errors?: {type: string; message: string}[]; data?: Record<string, unknown> | null}
}

async function api(
  who: {handle: string},
  method: string,
  path: string,
  body?: string | object,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const answer = await door.request({
    handle: who.handle,
    method,
    path,
    headers: {host: 'api.github.com', ...headers},
    ...(text === undefined ? {} : {body: text}),
  })
  const said = answer.body.toString()
  const json = said.startsWith('{') ? (JSON.parse(said) as Answer['json']) : {}
  return {status: answer.status, headers: answer.headers, text: said, json}
}

const graphql = (who: {handle: string}, query: string, variables: object = {}) =>
  api(who, 'POST', '/graphql', {query, variables})
const comment = (who: {handle: string}, subjectId: string, body = 'hello') =>
  graphql(who, 'mutation($i: AddCommentInput!) {addComment(input: $i) {clientMutationId}}', {
    i: {subjectId, body},
  })
const lsRemote = () =>
  door.gitAsAsync(task, '.', '-c', 'http.extraHeader=Host: github.com', 'ls-remote', door.githubUrl())
const said = ({json}: Answer) => json.errors?.[0]?.message ?? json.message ?? ''

describe('a write', () => {
  it('to the own pull request arrives, by GraphQL and by REST', async () => {
    expect(await comment(task, mine.id)).toMatchObject({status: 200, json: {data: {addComment: {}}}})
    expect(
      await api(task, 'POST', `/repos/org/app/issues/${mine.number}/comments`, {body: 'again'}),
    ).toMatchObject({status: 201})
    expect(mine.comments.map(({body}) => body)).toEqual(['hello', 'again'])
  })

  it('asks what a number stands for once, and each task for itself whether that is its own', async () => {
    const path = `/repos/org/app/issues/${mine.number}/comments`
    expect(await api(task, 'POST', path, {body: 'once'})).toMatchObject({status: 201})
    github.seen.length = 0
    expect(await api(task, 'POST', path, {body: 'twice'})).toMatchObject({status: 201})
    expect(github.seen.map(({method, url}) => `${method} ${url}`)).toEqual([`POST ${path}`])
    expect(await api(other, 'POST', path, {body: 'theirs'})).toMatchObject({status: 403})
    expect(mine.comments.slice(-2).map(({body}) => body)).toEqual(['once', 'twice'])
  })

  it('to what belongs to others does not, by whatever id', async () => {
    const [app, elsewhere] = github.world.repositories
    const strangers = [app?.pulls[0], app?.pulls[1], elsewhere?.pulls[0], elsewhere?.issues[0]]
    for (const stranger of strangers) {
      const answer = await comment(task, stranger?.id ?? '')
      expect(answer).toMatchObject({status: 200, json: {data: null, errors: [{type: 'FORBIDDEN'}]}})
      expect(said(answer)).toMatch(/^cage: /)
    }
    expect(await comment(other, mine.id)).toMatchObject({json: {errors: [{type: 'FORBIDDEN'}]}})
    expect(await api(task, 'POST', '/repos/org/app/issues/5/comments', {body: 'x'})).toMatchObject({
      status: 403,
    })
    expect(await api(task, 'PATCH', '/repos/org/app/pulls/6', {title: 'x'})).toMatchObject({status: 403})
    expect(await api(other, 'PATCH', `/repos/org/app/pulls/${mine.number}`, {state: 'closed'})).toMatchObject(
      {status: 403},
    )
    const theirs = github.world.app.issues[0]?.comments[0]
    expect(
      await api(task, 'PATCH', `/repos/org/app/issues/comments/${theirs?.databaseId}`, {body: 'x'}),
    ).toMatchObject({status: 403})
    expect(await comment(task, 'PR_nowhere')).toMatchObject({json: {errors: [{type: 'FORBIDDEN'}]}})
    expect(github.world.changes).toEqual([])
  })

  it.each([
    ['a merge', 'PUT', `/repos/org/app/pulls/5/merge`, {}],
    ['a merge of the own pull request in disguise', 'POST', '/repos/org/app/pulls/5/merge', {_method: 'PUT'}],
    ['a ref', 'POST', '/repos/org/app/git/refs', {ref: 'refs/heads/x', sha: '0'.repeat(40)}],
    ['a file', 'PUT', '/repos/org/app/contents/README.md', {message: 'm', content: 'YQ=='}],
    ['a secret', 'PUT', '/repos/org/app/actions/secrets/X', {}],
    ['a release', 'POST', '/repos/org/app/releases', {tag_name: 'v1'}],
    ['a gist', 'POST', '/gists', {files: {}}],
    ['a workflow', 'POST', '/repos/org/app/actions/workflows/ci.yml/dispatches', {ref: 'main'}],
    ['settings', 'PATCH', '/repos/org/app', {private: false}],
    ['another repository', 'POST', '/repos/org/other/issues/3/comments', {body: 'x'}],
    ['another repository, cleverly', 'POST', '/repos/org/app/../other/issues/3/comments', {body: 'x'}],
    ['another repository, encoded', 'POST', '/repos/org%2Fother/x/issues/3/comments', {body: 'x'}],
    ['another repository by number', 'POST', '/repositories/2/issues/3/comments', {body: 'x'}],
    ['the run of another branch', 'POST', '/repos/org/app/actions/runs/71/rerun', undefined],
    ['a token', 'POST', '/app/installations/56/access_tokens', {}],
    ['the end of the token', 'DELETE', '/installation/token', undefined],
  ])('of %s does not reach GitHub', async (_, method, path, body) => {
    const answer = await api(task, method, path, body, {'x-http-method-override': 'PUT'})
    expect([403, 404]).toContain(answer.status)
    expect(said(answer)).toMatch(/^cage: /)
    expect(github.world.changes).toEqual([])
    expect(github.seen.filter(({method: sent}) => sent !== 'GET')).toEqual([])
  })

  it('over the hour’s budget is refused', async () => {
    const few = door.githubTask('few', {
      branch: 'fix/login',
      github: {writes: ['pr.comment'], writesPerHour: 1, readsPerHour: 2},
    })
    expect(await comment(few, mine.id)).toMatchObject({json: {data: {addComment: {}}}})
    const second = await comment(few, mine.id)
    expect(said(second)).toBe('cage: this task has used up its 1 changes per hour at GitHub; try again later')
    for (let i = 0; i < 2; i++) expect(await api(few, 'GET', '/repos/org/app')).toMatchObject({status: 200})
    expect(await api(few, 'GET', '/repos/org/app')).toMatchObject({status: 429})
    expect(github.world.changes).toHaveLength(1)
  })

  it('leaves so many records that it pushes no older ones out of the journal', async () => {
    const loud = door.githubTask('loud', {branch: 'fix/login'})
    for (let round = 0; round < 60; round++)
      await Promise.all(Array.from({length: 10}, () => api(loud, 'DELETE', '/repos/org/app')))
    const records = door.journal({task: 'loud'}).filter(({decision}) => decision === 'deny')
    expect(records.length).toBeGreaterThanOrEqual(500)
    expect(records.length).toBeLessThan(600)
  })

  it('counts every node that a question names', async () => {
    const few = door.githubTask('nodes', {
      branch: 'fix/login',
      github: {writes: [], writesPerHour: 1, readsPerHour: 3},
    })
    const ask = (ids: string[]) => graphql(few, 'query($ids: [ID!]!) {nodes(ids: $ids) {__typename}}', {ids})
    expect((await ask([mine.id, mine.id])).json.data).toBeDefined()
    github.seen.length = 0
    expect(said(await ask(Array.from({length: 100}, (_, n) => `PR_${n}`)))).toContain('questions per hour')
    expect(github.seen).toEqual([])
  })

  it('without the right to it is refused', async () => {
    const reader = door.githubTask('reader', {
      branch: 'fix/login',
      github: {writes: [], writesPerHour: 9, readsPerHour: 9},
    })
    expect(said(await comment(reader, mine.id))).toBe('cage: this task was not given the right pr.comment')
    expect(github.world.changes).toEqual([])
  })
})

describe('a text', () => {
  it('with a secret, or with an order to a bot, stays here', async () => {
    const secret = sampleSecret('npm_<a62:36>')
    const answer = await comment(task, mine.id, `see\n${secret}`)
    expect(said(answer)).toMatch(
      /^cage: the body was not sent: it holds a secret \(\S+, line 2\); take it out$/,
    )
    expect(answer.text).not.toContain(secret)
    expect(said(await comment(task, mine.id, '/merge'))).toContain('it gives an order to a bot')
    const created = await api(task, 'POST', '/repos/org/app/pulls', {
      title: secret,
      head: 'fix/login',
      base: 'main',
    })
    expect(created.status).toBe(403)
    expect(github.world.changes).toEqual([])
    expect(github.seen.some(({body}) => body.includes(secret))).toBe(false)
    expect(JSON.stringify(door.journal())).not.toContain(secret)
  })

  it('stays here when it cannot be scanned', async () => {
    await door.kill('git')
    const answer = await comment(task, mine.id)
    expect(answer.text).toContain('cage: ')
    expect(github.world.changes).toEqual([])
    door.startGit()
    await door.ready()
    expect(await comment(task, mine.id)).toMatchObject({json: {data: {addComment: {}}}})
  })
})

describe('what goes to GitHub', () => {
  it('is built anew: headers, query, body, and a token that can do no more than this', async () => {
    await api(task, 'POST', `/repos/org/app/pulls/${mine.number}/reviews?x=1`, {body: 'b', event: 'COMMENT'})
    expect(github.seen).toEqual([])
    await api(
      task,
      'POST',
      `/repos/ORG/App/pulls/${mine.number}/reviews`,
      '{"body":"no", "event":"COMMENT", "body":"b"}',
      {
        authorization: 'token cage-placeholder',
        cookie: 'a=b',
        'x-github-otp': '1',
        'user-agent': 'me',
        accept: 'text/html',
      },
    )
    const last = github.seen.at(-1)
    expect(last).toMatchObject({
      url: `/repos/org/app/pulls/${mine.number}/reviews`,
      body: '{"body":"b","event":"COMMENT"}',
    })
    expect(Object.keys(last?.headers ?? {}).sort()).toEqual([
      'accept',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
      'user-agent',
      'x-github-api-version',
    ])
    const token = github.tokens.get((last?.headers.authorization ?? '').replace('Bearer ', ''))
    expect(token).toMatchObject({
      repositories: ['app'],
      permissions: {
        contents: 'read',
        pull_requests: 'write',
        issues: 'write',
        checks: 'read',
        statuses: 'read',
        actions: 'write',
      },
    })
  })

  it('has tokens of its own for git, each for one task', async () => {
    expect(await lsRemote()).toMatchObject({code: 0})
    const git = [...github.tokens.values()].filter(
      ({permissions}) => Object.keys(permissions).join() === 'contents',
    )
    expect(git.length).toBeGreaterThan(0)
    for (const {repositories} of git) expect(repositories).toEqual(['app'])
  })

  it('is answered with links and headers that mean something here', async () => {
    const answer = await api(task, 'GET', '/repos/org/app/pulls')
    expect(answer.headers['link']).toBe('<https://api.github.com/repos/org/app/pulls?page=2>; rel="next"')
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(answer.headers['x-oauth-scopes']).toBeUndefined()
  })

  it('for logs is the file itself, without its signed address', async () => {
    const answer = await api(task, 'GET', '/repos/org/app/actions/runs/70/logs')
    expect(answer).toMatchObject({status: 200, headers: {'content-type': 'application/zip'}})
    expect(JSON.stringify(answer.headers)).not.toContain('SIGNATURE')
    github.fileHost = 'evil.example.com'
    const elsewhere = await api(task, 'GET', '/repos/org/app/actions/runs/70/logs')
    github.fileHost = 'results-receiver.actions.githubusercontent.com'
    expect(elsewhere).toMatchObject({
      status: 502,
      json: {message: 'cage: GitHub keeps this file where the dispatcher does not go'},
    })
  })

  it('is on record, changes before they are sent', async () => {
    await comment(task, mine.id)
    await api(task, 'PUT', '/repos/org/app/pulls/5/merge', {})
    await api(task, 'GET', '/repos/org/app/pulls/7')
    const records = door.journal({task: 'fix'}).filter(({op}) => op === 'rest' || op === 'graphql')
    const [decided, done, denied, read] = records.slice(-4)
    expect(decided).toMatchObject({
      phase: 'decision',
      op: 'graphql',
      decision: 'allow',
      operation: 'mutation',
      roots: ['addComment'],
      ids: [mine.id],
    })
    expect(done).toMatchObject({
      phase: 'outcome',
      request: decided?.['request'],
      decision: 'allow',
      status: 200,
    })
    expect(denied).toMatchObject({
      phase: 'decision',
      op: 'rest',
      decision: 'deny',
      ruleId: ['github.never'],
      method: 'PUT',
      path: '/repos/org/app/pulls/5/merge',
    })
    expect(read).toMatchObject({
      op: 'rest',
      decision: 'allow',
      template: '/repos/{owner}/{repo}/pulls/{number}',
      parameters: {number: '7'},
    })
  })
})

describe('GitHub’s faults', () => {
  it('are told, and nothing is said twice', async () => {
    github.status = 503
    expect(await api(task, 'GET', '/repos/org/app')).toMatchObject({status: 503})
    expect(await comment(task, mine.id)).toMatchObject({status: 503})
    expect(github.world.changes).toEqual([])
    expect(door.journal({task: 'fix'}).at(-1)).toMatchObject({
      phase: 'outcome',
      decision: 'upstream-reject',
      status: 503,
    })
  })

  it('a token that it no longer takes is replaced once', async () => {
    expect(await api(task, 'GET', '/repos/org/app')).toMatchObject({status: 200})
    for (const token of github.tokens.values()) token.revoked = true
    expect(await api(task, 'GET', '/repos/org/app')).toMatchObject({status: 200})
    github.status = 401
    expect(await api(task, 'GET', '/repos/org/app')).toMatchObject({
      status: 502,
      json: {
        message: expect.stringContaining('a person has to look at'),
      },
    })
  })

  it('a token that it no longer takes for a file is no reason to ask the task for one', async () => {
    github.status = 401
    const refused = await api(task, 'GET', '/repos/org/app/actions/runs/70/logs')
    expect(refused).toMatchObject({status: 502, json: {message: expect.stringMatching(/^cage: /)}})
    github.status = undefined
    expect(await api(task, 'GET', '/repos/org/app/actions/runs/70/logs')).toMatchObject({status: 200})
  })

  it('a permission that the app lacks is named', async () => {
    const {pull_requests: held} = github.permissions
    delete github.permissions['pull_requests']
    const [second] = [await TestDispatcher.start()]
    second.tellGithub(github)
    const poor = second.githubTask('poor', {branch: 'poor'})
    const answer = await second.request({
      handle: poor.handle,
      path: '/repos/org/app',
      headers: {host: 'api.github.com'},
    })
    github.permissions['pull_requests'] = held ?? 'write'
    await second.stop()
    expect(answer.body.toString()).toContain(
      'the GitHub App of this project lacks the permission pull_requests: write',
    )
  })
})

describe('who may ask', () => {
  it('nobody without a document, or of another kind of project', async () => {
    expect(await api({handle: 'cgt_nobody'}, 'GET', '/repos/org/app')).toMatchObject({status: 403})
    expect(await api({handle: 'cgt_nobody'}, 'POST', '/graphql', {query: '{viewer{login}}'})).toMatchObject({
      status: 200,
      json: {errors: [{type: 'FORBIDDEN'}]},
    })
    const hosted = door.task('hosted')
    expect(await api(hosted, 'GET', '/repos/org/app')).toMatchObject({status: 404})
    expect(github.seen).toEqual([])
  })

  it('a removed task’s tokens end at GitHub', async () => {
    const gone = door.githubTask('gone', {branch: 'gone'})
    await api(gone, 'GET', '/repos/org/app')
    const used = (github.seen.at(-1)?.headers.authorization ?? '').replace('Bearer ', '')
    expect(github.tokens.get(used)?.revoked).toBe(false)
    expect(await door.controlAsync({op: 'document.remove', task: 'gone'})).toMatchObject({code: 0})
    expect(github.tokens.get(used)?.revoked).toBe(true)
    expect(await api(gone, 'GET', '/repos/org/app')).toMatchObject({status: 403})
  })

  it('a gate that was started again asks to be told', async () => {
    await door.kill('gate')
    door.startGate()
    await door.ready()
    expect(await api(task, 'GET', '/repos/org/app')).toMatchObject({
      status: 502,
      json: {message: expect.stringContaining('a person has to run `cage up`')},
    })
    expect(door.tellGithub(github)).toMatchObject({code: 0})
    expect(await api(task, 'GET', '/repos/org/app')).toMatchObject({status: 200})
  })
})

describe('tokens of people', () => {
  it('a fine-grained one works, a classic one only when it is asked for', async () => {
    const fine = github.issue('github_pat_11AAAAAAA_SENTINELfinegrained')
    const classic = github.issue(`ghp_${'SENTINEL'.repeat(4)}0000`)
    expect(door.tellGithub(github, {token: classic, allowClassic: false})).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('a classic token, which opens every repository of its owner'),
    })
    for (const who of [
      {token: fine, allowClassic: false},
      {token: classic, allowClassic: true},
    ]) {
      expect(door.tellGithub(github, who)).toMatchObject({code: 0})
      expect(await api(task, 'GET', '/repos/org/app')).toMatchObject({status: 200})
      expect(github.seen.at(-1)?.headers.authorization).toBe(`Bearer ${who.token}`)
    }
    expect(door.tellGithub(github)).toMatchObject({code: 0})
  })

  it('write comments and change none: the words of that person look like those of the task', async () => {
    const token = github.issue('github_pat_11AAAAAAA_SENTINELperson')
    const {id, databaseId} = mine.comments[0] ?? {id: '', databaseId: 0}
    const edit = (body: string) =>
      graphql(
        task,
        'mutation($i: UpdateIssueCommentInput!) {updateIssueComment(input: $i) {clientMutationId}}',
        {
          i: {id, body},
        },
      )
    expect((await edit('by the app')).json.data).toMatchObject({updateIssueComment: {}})
    expect(door.tellGithub(github, {token, allowClassic: false})).toMatchObject({code: 0})
    github.world.changes.length = 0
    expect(said(await edit('not theirs'))).toContain('the words of that person')
    expect(
      (await api(task, 'PATCH', `/repos/org/app/issues/comments/${databaseId}`, {body: 'not theirs'})).status,
    ).toBe(403)
    expect(github.world.changes).toEqual([])
    expect((await comment(task, mine.id)).json.data).toMatchObject({addComment: {}})
    expect(door.tellGithub(github)).toMatchObject({code: 0})
  })
})

describe('credentials', () => {
  it('appear nowhere but at GitHub', async () => {
    github.echoes = true
    const answers = [
      await api(task, 'GET', '/repos/org/app'),
      await comment(task, mine.id),
      await api(task, 'GET', '/user'),
    ]
    const {stderr, stdout} = await lsRemote()
    const children = execFileSync('sh', [
      '-c',
      `cat /proc/${door.pid('git')}/environ /proc/${door.pid('git')}/cmdline /proc/${door.pid('gate')}/environ /proc/${door.pid('gate')}/cmdline`,
    ]).toString('latin1')
    const volume = readdirSync(door.volume, {recursive: true, withFileTypes: true})
      .filter((file) => file.isFile())
      .map((file) => readFileSync(`${file.parentPath}/${file.name}`, 'latin1'))
      .join('\n')
    const state = readdirSync(door.state, {recursive: true, withFileTypes: true})
      .filter((file) => file.isFile())
      .map((file) => readFileSync(`${file.parentPath}/${file.name}`, 'latin1'))
      .join('\n')
    const places = {
      answers: JSON.stringify(answers),
      client: stdout + stderr,
      log: door.log,
      journal: JSON.stringify(door.journal()),
      children,
      volume,
      state,
    }
    expect(github.tokens.size).toBeGreaterThan(2)
    for (const [place, content] of Object.entries(places)) {
      for (const token of github.tokens.keys()) {
        expect({place, has: content.includes(token)}).toEqual({place, has: false})
        const basic = Buffer.from(`x-access-token:${token}`).toString('base64')
        expect({place, has: content.includes(basic)}).toEqual({place, has: false})
      }
      expect({place, has: content.includes(github.key.split('\n')[5] ?? 'key')}).toEqual({place, has: false})
    }
    expect(JSON.stringify(answers)).toContain('(hidden)')
  })
})
