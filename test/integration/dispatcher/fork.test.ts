import {afterAll, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import type {GitGrant} from '../../../policy/grant.js'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {FakeGithub} from '../../support/fake-github.js'

/** Tasks push to a fork: the refs of upstream and fork, and the tokens that GitHub was shown, are the judges. */
const ORIGIN = 'https://github.com/org/app'
const FORK = 'https://github.com/bot/app.git'
const NAMED = ['-c', 'http.extraHeader=Host: github.com'] as const

let github: FakeGithub
let door: TestDispatcher
let task: TestTask
const upstream: GitGrant['upstream'] = {kind: 'github', url: ORIGIN, fork: FORK}

const git = (who: TestTask, where: string, ...args: string[]) =>
  door.gitAsAsync(who, where, ...NAMED, ...args)
const at = (path: string) => door.githubUrl(path)
const tokenOf = (authorization = '') => {
  const [scheme, value = ''] = authorization.split(' ')
  const shown = scheme === 'Basic' ? Buffer.from(value, 'base64').toString().split(':')[1] : value
  return github.tokens.get(shown ?? '')
}
const commitUpstream = (path: string, text: string) => {
  github.box.commit('seed-org-app.git', 'main', path, text)
  github.box.git('seed-org-app.git', 'push', '-q', github.box.path('org/app.git'), 'main')
}

beforeAll(async () => {
  github = await FakeGithub.start()
  github.fork('bot', 57)
  // The fork stays behind from here on, and the upstream has changed what a task may not change.
  commitUpstream('.github/workflows/ci.yml', 'on: push\n')
  door = await TestDispatcher.start()
  expect(await door.tellFork(github)).toMatchObject({code: 0, stdout: JSON.stringify({url: FORK}) + '\n'})
  task = door.githubTask('fix', {branch: 'fix/login', upstream})
  expect(await git(task, '.', 'clone', '-q', at('org/app.git'), 'agent')).toMatchObject({code: 0})
  door.box.git('agent', 'checkout', '-q', '-b', 'fix/login')
})
afterAll(async () => {
  await door.stop()
  await github.stop()
})
beforeEach(() => {
  github.seen.length = 0
  github.world.changes.length = 0
})

describe('a push', () => {
  it('goes to the fork, from commits that only the upstream has, and the upstream stays as it is', async () => {
    const before = github.refs('org/app.git')
    const tip = door.box.commit('agent', 'fix/login', 'login.js', 'export const login = 1\n')
    expect(await git(task, 'agent', 'push', at('bot/app.git'), 'fix/login')).toMatchObject({code: 0})
    expect(github.refs('bot/app.git')).toContain(`${tip} commit\trefs/heads/fix/login`)
    expect(github.refs('org/app.git')).toBe(before)
  })

  it('is judged by what is new to both', async () => {
    commitUpstream('.github/workflows/second.yml', 'on: push\n')
    door.box.git('agent', 'reset', '-q', '--hard')
    expect(await git(task, 'agent', 'pull', '-q', '--no-rebase', at('org/app.git'), 'main')).toMatchObject({
      code: 0,
    })
    const merged = await git(task, 'agent', 'push', at('bot/app.git'), 'fix/login')
    expect(merged).toMatchObject({code: 0})
    door.box.commit('agent', 'fix/login', '.github/workflows/mine.yml', 'on: push\n')
    const denied = await git(task, 'agent', 'push', at('bot/app.git'), 'fix/login')
    expect(denied).toMatchObject({code: 1, stderr: expect.stringContaining('.github/workflows/mine.yml')})
    door.box.git('agent', 'reset', '-q', '--hard', 'HEAD~1')
  })

  it('to the upstream is refused, with the way to the fork', async () => {
    const before = github.refs('org/app.git')
    door.box.commit('agent', 'fix/login', 'more.js', '1\n')
    const {code, stderr} = await git(task, 'agent', 'push', at('org/app.git'), 'fix/login')
    expect({code, stderr}).toMatchObject({code: 128, stderr: expect.stringContaining(`git push ${FORK}`)})
    const raw = await door.request({
      handle: task.handle,
      method: 'POST',
      path: '/org/app.git/git-receive-pack',
      headers: {host: 'github.com', 'content-type': 'application/x-git-receive-pack-request'},
      body: '0000',
    })
    expect(raw.status).toBe(403)
    expect(github.refs('org/app.git')).toBe(before)
    expect(await git(task, 'agent', 'push', at('bot/app.git'), 'fix/login')).toMatchObject({code: 0})
  })

  it('of another branch, to the fork’s main, or to a fork of somebody else is refused', async () => {
    github.fork('mallory')
    const before = ['org', 'bot', 'mallory'].map((owner) => github.refs(`${owner}/app.git`))
    for (const ref of ['fix/login:main', 'fix/login:other', ':fix/login', '+fix/login~1:fix/login'])
      expect(await git(task, 'agent', 'push', at('bot/app.git'), ref)).toMatchObject({code: 1})
    expect(await git(task, 'agent', 'push', at('mallory/app.git'), 'fix/login')).toMatchObject({code: 128})
    expect(['org', 'bot', 'mallory'].map((owner) => github.refs(`${owner}/app.git`))).toEqual(before)
  })

  it('of a task whose document names another fork than the dispatcher found is refused', async () => {
    const other = {...upstream, fork: 'https://github.com/mallory/app.git'}
    const stranger = door.githubTask('stranger', {branch: 'fix/login', upstream: other})
    const before = github.refs('mallory/app.git')
    for (const owner of ['mallory', 'bot', 'org'])
      expect(await git(stranger, 'agent', 'push', at(`${owner}/app.git`), 'fix/login')).toMatchObject({
        code: 128,
      })
    expect(github.refs('mallory/app.git')).toBe(before)
  })
})

it('shows each repository a token that is good for it alone, and the upstream none that writes', async () => {
  door.box.commit('agent', 'fix/login', 'tokens.js', '1\n')
  expect(await git(task, 'agent', 'push', at('bot/app.git'), 'fix/login')).toMatchObject({code: 0})
  expect(await git(task, 'agent', 'fetch', '-q', at('org/app.git'), 'main')).toMatchObject({code: 0})
  const asked = github.seen.filter(({host}) => host === 'github.com')
  const of = (owner: string) =>
    asked.filter(({url}) => url.startsWith(`/${owner}/`)).map(({headers}) => tokenOf(headers.authorization))
  expect(of('bot').length).toBeGreaterThan(0)
  for (const token of of('bot'))
    expect(token).toMatchObject({account: 'bot', repositories: ['app'], permissions: {contents: 'write'}})
  expect(of('org').length).toBeGreaterThan(0)
  for (const token of of('org'))
    expect(token).toMatchObject({account: 'org', repositories: ['app'], permissions: {contents: 'read'}})
})

describe('the pull request', () => {
  const api = async (method: string, path: string, body?: object) => {
    const answer = await door.request({
      handle: task.handle,
      method,
      path,
      headers: {host: 'api.github.com'},
      ...(body === undefined ? {} : {body: JSON.stringify(body)}),
    })
    return {status: answer.status, text: answer.body.toString()}
  }
  const mine = () => {
    const found = github.world.app.pulls.find(({head, fork}) => head === 'fix/login' && fork === 'bot')
    if (!found) throw new Error('there is none')
    return found
  }

  it('leads from the fork into the upstream, however its branch is spelled', async () => {
    const pull = {title: 't', base: 'main', maintainer_can_modify: true}
    for (const head of ['fix/login', 'bot:fix/login']) {
      expect(await api('POST', '/repos/org/app/pulls', {...pull, head})).toMatchObject({status: 201})
      expect(github.world.changes.splice(0)).toEqual(['open app bot:fix/login'])
    }
    for (const head of ['mallory:fix/login', 'bot:main', 'main', 'org:fix/login'])
      expect(await api('POST', '/repos/org/app/pulls', {...pull, head})).toMatchObject({status: 403})
    expect(await api('POST', '/repos/bot/app/pulls', {...pull, head: 'fix/login'})).toMatchObject({
      status: 404,
    })
    expect(github.world.changes).toEqual([])
  })

  it('is the task’s own; one from elsewhere with a branch of that name is not', async () => {
    const inside = github.world.open(github.world.app, {title: 'x', head: 'main', base: 'main'})
    Object.assign(inside, {head: 'fix/login'})
    github.world.changes.length = 0
    const close = (number: number) => api('PATCH', `/repos/org/app/pulls/${number}`, {title: 'mine'})
    expect(await close(6)).toMatchObject({status: 403})
    expect(await close(inside.number)).toMatchObject({status: 403})
    expect(github.world.changes).toEqual([])
    expect(await close(mine().number)).toMatchObject({status: 200})
    expect(github.world.changes).toHaveLength(1)
  })

  it('has runs of its own, which can be run again; those of the upstream cannot', async () => {
    github.world.app.runs.push({id: 72, branch: 'fix/login', attempt: 1, fork: 'bot'})
    expect(await api('POST', '/repos/org/app/actions/runs/70/rerun')).toMatchObject({status: 403})
    expect(await api('POST', '/repos/org/app/actions/runs/72/rerun')).toMatchObject({status: 200})
    expect(github.world.changes).toEqual(['POST /repos/org/app/actions/runs/72/rerun'])
  })
})

describe('the fork', () => {
  it('is known to a dispatcher that was started again only once it was told', async () => {
    await door.kill('gate')
    door.startGate()
    await door.ready()
    expect(await git(task, 'agent', 'ls-remote', at('bot/app.git'))).toMatchObject({
      code: 128,
      stderr: expect.stringContaining('cage up'),
    })
    await door.tellFork(github)
    expect(await git(task, 'agent', 'ls-remote', at('bot/app.git'))).toMatchObject({code: 0})
  })

  it('holds beside its own branches those of the upstream, for comparing', async () => {
    const {stdout} = await door.controlAsync({op: 'refs', repository: 'github.com/bot/app.git'})
    const {refs, origin} = JSON.parse(stdout) as {
      refs: Record<string, string>
      origin: {head: string; refs: Record<string, string>}
    }
    expect(Object.keys(refs)).toEqual(expect.arrayContaining(['refs/heads/fix/login', 'refs/heads/main']))
    expect(origin.head).toBe('refs/heads/main')
    expect(origin.refs['refs/heads/main']).not.toBe(refs['refs/heads/main'])
    expect(github.refs('org/app.git')).toContain(origin.refs['refs/heads/main'])
  })
})

describe('without a fork that fits', () => {
  let empty: FakeGithub
  beforeAll(async () => {
    empty = await FakeGithub.start()
  })
  afterAll(() => empty.stop())
  const said = async (who?: object) => {
    const {code, stdout} = await door.tellFork(empty, who)
    expect(code).not.toBe(0)
    return (JSON.parse(stdout) as {error: {code: string; message: string; hints: string[]}}).error
  }

  it('says what is missing, and what to do', async () => {
    expect(await said()).toMatchObject({
      code: 'FORK_MISSING',
      message: expect.stringContaining('the app is installed nowhere else'),
      hints: [expect.stringContaining('Fork org/app'), expect.any(String)],
    })
    // A repository that is only called the same, and a fork of another one.
    empty.fork('bot', 57, 'app', empty.world.repositories[1])
    expect(await said()).toMatchObject({code: 'FORK_MISSING', message: expect.stringContaining('bot')})
    const archived = empty.fork('archive', 58)
    archived.archived = true
    expect(await said()).toMatchObject({message: expect.stringContaining('archive/app is archived')})
    delete archived.archived
    empty.fork('second', 59, 'renamed')
    expect(await said()).toMatchObject({
      code: 'FORK_AMBIGUOUS',
      message: expect.stringContaining('archive/app and second/renamed'),
    })
  })

  it('takes the one of the token’s owner, but not of the upstream’s', async () => {
    const who = {token: empty.issue('github_pat_x'), allowClassic: false}
    empty.world.viewer = 'org'
    expect(await said(who)).toMatchObject({message: expect.stringContaining('who owns the upstream')})
    empty.world.viewer = 'nobody'
    expect(await said(who)).toMatchObject({hints: [expect.stringContaining('Fork it as nobody')]})
    empty.world.viewer = 'second'
    const {stdout} = await door.tellFork(empty, who)
    expect(JSON.parse(stdout)).toEqual({url: 'https://github.com/second/renamed.git'})
  })
})
