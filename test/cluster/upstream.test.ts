import {execFileSync} from 'node:child_process'
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {parse, stringify} from 'yaml'
import {FakeGithub} from '../support/fake-github.js'
import {GitUpstream} from '../support/git-upstream.js'
import {cage, cageJson, cageOk, eventually, inTask, killContainer, repository, scratch} from './harness.js'
import {dispatcherPod, placesOf} from './secret-places.js'

/** Counts as somebody else's on the internet; the operator's file says that it is theirs. */
const ADDRESS = '198.51.100.78'
const isRoot = process.getuid?.() === 0
const withAddress = (name: string, body: () => void) =>
  isRoot
    ? describe(name, body)
    : describe.skip(`${name} (skipped: needs root to give this computer an address)`, body)

/** The tier's project with other files of its person, until `restore`. */
class Settings {
  readonly #project = join(repository, 'cage.yaml')
  readonly #own = join(process.env['XDG_CONFIG_HOME'] ?? '', 'cage', 'config.yaml')
  readonly #before = [this.#project, this.#own].map((path) => [path, readFileSync(path, 'utf8')] as const)

  /** What each file says besides; approved as a person would. */
  async say(project: object, own: object): Promise<void> {
    for (const [[path, text], more] of this.#before.map(
      (file, index) => [file, [project, own][index]] as const,
    ))
      writeFileSync(path, stringify({...(parse(text) as object), ...more}))
    const {hash, widens} = await cageJson<{hash: string; widens: string[]}>(['trust'])
    expect(widens.join()).toContain('repository')
    await cageOk(['trust', '--approve', hash])
    await cageOk(['up'], {timeoutMs: 590_000})
  }

  async restore(): Promise<void> {
    for (const [path, text] of this.#before) writeFileSync(path, text)
    await cageOk(['up'], {timeoutMs: 590_000})
  }
}

/** As `network.hosts` has it. */
function wayTo(name: string, port: number, ca: string): {address: string; port: number; ca: string} {
  mkdirSync(join(scratch, 'upstreams'), {recursive: true})
  const path = join(scratch, 'upstreams', `${name}.pem`)
  writeFileSync(path, ca)
  return {address: ADDRESS, port, ca: path}
}

/** In the clone, the agent's own way; fails with what was said. */
async function work(task: string, script: string): Promise<string> {
  const {code, stdout, stderr} = await inTask(task, `set -e; ${script}`)
  if (code !== 0) throw new Error(`${script} → ${code}\n${stdout}\n${stderr}`)
  return stdout.trim()
}
const commitAndPush = (task: string, file: string) =>
  work(
    task,
    `echo ${file} >${file}; git add ${file}; git commit -qm 'Add ${file}'; git push -q; git rev-parse HEAD`,
  )

withAddress('a project whose branches go elsewhere', () => {
  const settings = new Settings()

  beforeAll(() => {
    execFileSync('ip', ['address', 'replace', `${ADDRESS}/32`, 'dev', 'lo'])
  })
  afterAll(async () => {
    await settings.restore()
    execFileSync('ip', ['address', 'del', `${ADDRESS}/32`, 'dev', 'lo'])
  }, 300_000)

  describe('to a git server', () => {
    const task = 'feature/login'
    const ref = `refs/heads/${task}`
    let forge: GitUpstream

    beforeAll(async () => {
      forge = await GitUpstream.start(ADDRESS)
      forge.create()
      execFileSync('git', ['push', '-q', forge.box.path('root/org/app.git'), 'main'], {cwd: repository})
      process.env['FORGE_TOKEN'] = forge.token
      await settings.say(
        {
          repository: {upstream: forge.url(), credential: 'forge'},
          credentials: [{name: 'forge', from: {env: 'FORGE_TOKEN'}}],
        },
        {network: {hosts: {'forge.example.com': wayTo('forge', forge.port, forge.ca)}}},
      )
      await cageOk(['task', 'new', task])
    }, 600_000)
    afterAll(async () => {
      await cage(['task', 'rm', task, '--force'])
      delete process.env['FORGE_TOKEN']
      await forge.stop()
    }, 120_000)

    it('origin is its real address, and a push of the task’s branch lands there', async () => {
      const remotes = await work(task, 'git remote -v')
      expect(remotes.split('\n')).toEqual(['fetch', 'push'].map((what) => `origin\t${forge.url()} (${what})`))
      const tip = await commitAndPush(task, 'login.txt')
      expect(forge.refs()[ref]).toBe(tip)
      expect(forge.git('org/app.git', 'show', `${tip}:login.txt`)).toBe('login.txt')
    })

    it('a push to main is refused with the reason, and nothing moves', async () => {
      const before = forge.refs()
      const {code, stderr} = await inTask(task, 'git push origin HEAD:main')
      expect(code).toBe(1)
      expect(stderr).toContain('[remote rejected] HEAD -> main (not the branch of this task)')
      expect(forge.refs()).toEqual(before)
    })

    it('a fetch brings what others pushed', async () => {
      forge.box.git('.', 'clone', '-q', forge.box.path('root/org/app.git'), 'other')
      const theirs = forge.box.commit('other', 'main', 'theirs.txt', 'theirs\n')
      forge.box.git('other', 'push', '-q', 'origin', 'main')
      expect(await work(task, 'git fetch -q; git rev-parse origin/main')).toBe(theirs)
    })

    it('the person sees the work and what was refused', async () => {
      const tip = forge.refs()[ref]
      expect(await cageJson(['task', 'diff', task])).toMatchObject({
        branch: task,
        commits: [{id: tip}],
        files: [{path: 'login.txt', added: 1, removed: 0}],
      })
      const lines = (await cageOk(['audit', '--task', task])).split('\n')
      const pushes = lines.filter((line) => line.includes('push forge.example.com/org/app.git'))
      expect(pushes.some((line) => line.includes(ref) && !line.includes('denied'))).toBe(true)
      expect(pushes.some((line) => line.includes('refs/heads/main') && line.includes('deny'))).toBe(true)
    })

    it('the credential is in the memory of gate and nowhere else', async () => {
      const traced = await inTask(
        task,
        'GIT_TRACE_CURL=1 GIT_TRACE_PACKET=1 GIT_CURL_VERBOSE=1 git ls-remote',
      )
      expect(traced.stderr).toContain('forge.example.com')
      expect(traced.stdout + traced.stderr).not.toContain(forge.token)
      const basic = Buffer.from(`x-access-token:${forge.token}`).toString('base64')
      // The same search finds what is there: the branch's name.
      const [token, header, branch] = await placesOf(task, [forge.token, basic, task])
      expect(token).toEqual(['gate: memory'])
      expect(header?.filter((place) => place !== 'gate: memory')).toEqual([])
      expect(branch).toEqual(expect.arrayContaining(['agent: environment', 'git: memory', 'audit']))
      expect(branch?.join('\n')).toMatch(/^git: var\/lib\/cage\//m)
      expect(branch?.join('\n')).toMatch(/^\/var\/lib\/etcd\//m)
    })

    it('a gate that was started again says so, until cage up brings the credential', async () => {
      const {namespace} = await cageJson<{namespace: string}>(['task', 'show', task])
      const dispatcher = `${namespace}-dispatcher`
      await killContainer({namespace: dispatcher, pod: await dispatcherPod(dispatcher)}, 'gate')
      const said = await eventually('the dispatcher says what is missing', async () => {
        const {code, stderr} = await inTask(task, 'git fetch origin')
        return code !== 0 && stderr.includes('cage up') ? stderr : undefined
      })
      expect(said).toContain('it was started again, and a person has to run `cage up`')
      await cageOk(['up'])
      const tip = await commitAndPush(task, 'later.txt')
      expect(forge.refs()[ref]).toBe(tip)
    })
  })

  describe('to a fork at GitHub, with an app', () => {
    const task = 'feature/cart'
    const ref = `refs/heads/${task}`
    let github: FakeGithub

    beforeAll(async () => {
      github = await FakeGithub.start(ADDRESS)
      github.fork('bot', 57)
      const key = join(scratch, 'upstreams', 'app.pem')
      const way = wayTo('github', github.port, github.ca)
      writeFileSync(key, github.key, {mode: 0o600})
      await settings.say(
        {repository: {upstream: 'https://github.com/org/app', mode: 'fork'}},
        {
          github: {app: github.app, installation: github.installation, key: {file: key}},
          network: {hosts: {'github.com': way, 'api.github.com': {...way}}},
        },
      )
      await cageOk(['task', 'new', task])
    }, 600_000)
    afterAll(async () => {
      await cage(['task', 'rm', task, '--force'])
      await github.stop()
    }, 120_000)

    it('origin is the upstream, and a push lands in the fork', async () => {
      const before = github.refs('org/app.git')
      expect(await work(task, 'git remote get-url origin')).toBe('https://github.com/org/app')
      const tip = await commitAndPush(task, 'cart.txt')
      expect(github.refs('bot/app.git')).toContain(`${tip} commit\t${ref}`)
      for (const target of ['https://github.com/org/app HEAD', 'fork HEAD:main'])
        expect((await inTask(task, `git push ${target}`)).stderr).toContain('cage: ')
      expect(github.refs('org/app.git')).toBe(before)
      expect(github.refs('bot/app.git').split('\n').sort()).toEqual(
        [...before.split('\n'), `${tip} commit\t${ref}`].sort(),
      )
    })

    it('gh opens the pull request into the upstream, and merges nothing', async () => {
      const opened = await work(task, "gh pr create --title 'Add a cart' --body 'It holds things.'")
      expect(opened).toContain('https://github.com/org/app/pull/')
      expect(await work(task, 'gh pr view --json title --jq .title')).toBe('Add a cart')
      const number = opened.split('/').at(-1) ?? ''
      for (const merge of ['gh pr merge --merge', `gh api -X PUT repos/org/app/pulls/${number}/merge`]) {
        const {code, stderr} = await inTask(task, merge)
        expect(code).toBe(1)
        expect(stderr).toContain('cage: ')
      }
      expect(github.world.changes).toEqual([`open app bot:${task}`])
      const lines = (await cageOk(['audit', '--task', task])).split('\n')
      expect(lines.some((line) => line.includes('createPullRequest'))).toBe(true)
      expect(lines.some((line) => line.includes('deny') && line.includes('mergePullRequest'))).toBe(true)
      expect(await cageJson(['task', 'diff', task])).toMatchObject({files: [{path: 'cart.txt'}]})
    })

    it('key and tokens are in the memory of gate and nowhere else', async () => {
      const traced = await inTask(
        task,
        'GH_DEBUG=api gh pr view; env; GIT_TRACE_CURL=1 git ls-remote; gh auth token',
      )
      const line = github.key.split('\n')[5] ?? ''
      const secrets = [line, ...github.tokens.keys()]
      expect(line).toHaveLength(64)
      expect(secrets.length).toBeGreaterThan(3)
      expect(traced.stdout).toContain('GH_TOKEN=')
      expect(secrets.filter((secret) => (traced.stdout + traced.stderr).includes(secret))).toEqual([])
      const places = await placesOf(task, secrets)
      expect(places[0]).toEqual(['gate: memory'])
      expect(places.flat().filter((place) => place !== 'gate: memory')).toEqual([])
    })

    it('a line of the app’s key leaves by neither door, and is not shown', async () => {
      const line = github.key.split('\n')[5] ?? ''
      const before = github.refs('bot/app.git')
      const pushed = await inTask(
        task,
        'cat >part.txt; git add part.txt; git commit -qm part; git push; result=$?; git reset -q --hard HEAD~1; exit $result',
        {input: `${line}\n`},
      )
      expect(pushed).toMatchObject({code: 1, stderr: expect.stringContaining('exact:github.key')})
      expect(github.refs('bot/app.git')).toBe(before)
      const sent = await inTask(task, 'gh api repos/org/app -H "x-note: $(cat)"', {input: `${line}\n`})
      expect(sent.stdout + sent.stderr).toContain('secret_found')
      const records = (await cageOk(['audit', '--task', task, '--json'])).split('\n')
      const isDenial = (text: string) => text.includes('exact:github.key') && text.includes('"sidecar"')
      expect(records.some(isDenial)).toBe(true)
      expect(JSON.stringify([pushed, sent])).not.toContain(line)
      expect(JSON.stringify(github.seen.map(({headers}) => headers))).not.toContain('x-note')
    })

    it('the tokens of a task end with it', async () => {
      const writing = () =>
        [...github.tokens.values()].filter(({permissions}) => Object.values(permissions).includes('write'))
      expect(writing().some(({permissions}) => permissions['contents'] === 'write')).toBe(true)
      expect(writing().some(({permissions}) => permissions['pull_requests'] === 'write')).toBe(true)
      expect(writing().filter(({revoked}) => revoked)).toEqual([])
      await cageOk(['task', 'rm', task, '--force'])
      // One is the dispatcher's own: GitHub shows to nobody else what a push needs to know.
      const left = writing().filter(({revoked}) => !revoked)
      expect(left.map(({permissions}) => permissions)).toEqual([{contents: 'write'}])
    })
  })
})
