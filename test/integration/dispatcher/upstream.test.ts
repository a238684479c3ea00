import {execFileSync, spawnSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {request} from 'node:http'
import {afterAll, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {GitUpstream} from '../../support/git-upstream.js'

let forge: GitUpstream
let door: TestDispatcher
let task: TestTask
let files = 0

/** Branches go to a server of somebody else, by unmodified git; what that server has in the end is what counts. */
beforeAll(async () => {
  forge = await GitUpstream.start()
  forge.create()
  forge.create('org/lib.git')
  for (const [name, path] of [
    ['home', 'org/app.git'],
    ['library', 'org/lib.git'],
  ] as const) {
    forge.box.init(name)
    forge.box.commit(name, 'main', 'README.md', `${name}\n`)
    forge.box.git(name, 'push', '-q', forge.box.path(`root/${path}`), 'main')
  }
  door = await TestDispatcher.startBefore(forge)
  door.tellUpstreams({}, forge.url('org/lib.git'))
  task = door.upstreamTask('fix', {read: [forge.url('org/lib')]})
  door.clone(task, 'agent')
  door.box.git('agent', 'checkout', '-q', '-b', 'fix')
})
afterAll(async () => {
  await door.stop()
  await forge.stop()
})
beforeEach(() => {
  forge.fail({})
  forge.seen()
})

const commit = () => door.box.commit('agent', 'fix', `file-${++files}.txt`, `content ${files}\n`)
const push = (...args: string[]) => door.gitAsAsync(task, 'agent', 'push', ...args, 'origin', 'fix')
const branch = () => forge.refs()['refs/heads/fix']

describe('a push', () => {
  it('arrives at the upstream with exactly what the agent committed', async () => {
    const tip = commit()
    const {code, stderr} = await push()
    expect({code, stderr}).toEqual({code: 0, stderr: expect.stringContaining('fix -> fix')})
    expect(branch()).toBe(tip)
    forge.git('org/app.git', 'fsck', '--strict', '--full')
    expect(door.journal({task: 'fix'}).map(({phase, op}) => `${String(op)} ${String(phase)}`)).toEqual(
      expect.arrayContaining(['fetch decision', 'push intent', 'push outcome']),
    )
  })

  it('asks the upstream once for its refs and once to take the pack', async () => {
    commit()
    forge.seen()
    expect((await push()).code).toBe(0)
    expect(forge.seen()).toEqual([
      'GET /org/app.git/info/refs?service=git-receive-pack',
      'POST /org/app.git/git-receive-pack',
    ])
  })

  it('does not wait for what others pushed, until it depends on that', async () => {
    forge.box.git('home', 'fetch', '-q', forge.box.path('root/org/app.git'), 'main')
    forge.box.commit('home', 'main', '.github/workflows/theirs.yml', 'on: push\n')
    const merged = forge.box.commit('home', 'main', 'later.txt', 'later\n')
    forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
    commit()
    forge.seen()
    expect((await push()).code).toBe(0)
    expect(forge.seen()).toEqual([
      'GET /org/app.git/info/refs?service=git-receive-pack',
      'POST /org/app.git/git-receive-pack',
    ])
    // Commits of others that are upstream already are not the agent's, whatever they change.
    expect(door.gitAs(task, 'agent', 'fetch', '-q', 'origin', 'main').code).toBe(0)
    door.box.git('agent', 'reset', '-q', '--hard')
    door.box.git('agent', 'merge', '-q', '--no-edit', merged)
    forge.box.commit('home', 'main', 'latest.txt', 'latest\n')
    forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
    forge.seen()
    const {code, stderr} = await push()
    expect({code, stderr}).toEqual({code: 0, stderr: expect.any(String)})
    expect(branch()).toBe(door.box.git('agent', 'rev-parse', 'fix'))
    expect(forge.seen()).toContain('POST /org/app.git/git-upload-pack')
    door.box.commit('agent', 'fix', '.github/workflows/theirs.yml', 'on: [push, pull_request]\n')
    expect((await push()).stderr).toContain('[path]')
    door.box.git('agent', 'reset', '-q', '--hard', 'fix~1')
  })

  it('of a branch that a person moved meanwhile is refused, and works after a fetch', async () => {
    forge.box.git('home', 'fetch', '-q', forge.box.path('root/org/app.git'), '+fix:fix')
    const theirs = forge.box.commit('home', 'fix', 'theirs.txt', 'theirs\n')
    forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'fix')
    commit()
    const refused = await push()
    expect(refused.code).toBe(1)
    expect(branch()).toBe(theirs)
    expect(door.gitAs(task, 'agent', 'fetch', '-q', 'origin', 'fix').code).toBe(0)
    door.box.git('agent', 'update-ref', 'refs/heads/fix', 'FETCH_HEAD')
    const tip = commit()
    expect((await push()).code).toBe(0)
    expect(branch()).toBe(tip)
  })

  it('of another branch, a tag, or over the limits never reaches the upstream', () => {
    const before = forge.refs()
    commit()
    for (const target of ['fix:main', 'fix:refs/tags/v1', 'fix:other', ':main'])
      expect(door.gitAs(task, 'agent', 'push', 'origin', target).code).toBe(1)
    forge.seen()
    door.box.commit('agent', 'fix', '.github/workflows/ci.yml', 'on: push\n')
    expect(door.gitAs(task, 'agent', 'push', 'origin', 'fix').stderr).toContain('[path]')
    expect(forge.seen().filter((line) => line.startsWith('POST'))).toEqual([])
    expect(forge.refs()).toEqual(before)
    door.box.git('agent', 'update-ref', 'refs/heads/fix', 'fix~1')
  })

  it.each([
    ['shallow', ['--depth', '1']],
    ['partial', ['--filter=blob:none']],
  ])('of a %s clone arrives whole', async (kind, args) => {
    const own = door.upstreamTask(kind)
    door.clone(own, kind, ...args)
    door.box.git(kind, 'checkout', '-q', '-b', kind)
    const tip = door.box.commit(kind, kind, `${kind}.txt`, `${kind}\n`)
    const {code, stderr} = await door.gitAsAsync(own, kind, 'push', 'origin', kind)
    expect({code, stderr}).toEqual({code: 0, stderr: expect.any(String)})
    expect(forge.refs()[`refs/heads/${kind}`]).toBe(tip)
    forge.git('org/app.git', 'fsck', '--strict', '--full')
  })

  it('of a branch and a tag at once is all or nothing where the client wants that, and says why by ref', async () => {
    const own = door.upstreamTask('two', {}, {refs: ['refs/heads/two'], tags: ['refs/tags/two/*']})
    const tip = door.box.commit('agent', 'two', 'two.txt', 'two\n')
    door.box.git('agent', 'tag', '-f', 'two/1', tip)
    door.box.git('agent', 'tag', '-f', 'other', tip)
    const push = (...refs: string[]) => door.gitAsAsync(own, 'agent', 'push', ...refs)
    const before = forge.refs()
    const mixed = await push('origin', 'two', 'refs/tags/other')
    expect(mixed.code).toBe(1)
    expect(mixed.stderr).toContain('other -> other (tags are not granted to this task)')
    expect(mixed.stderr).toContain('two -> two (another ref of this push was refused)')
    expect(forge.refs()).toEqual(before)
    expect((await push('--atomic', 'origin', 'two', 'refs/tags/two/1')).code).toBe(0)
    expect(forge.refs()).toMatchObject({'refs/heads/two': tip, 'refs/tags/two/1': tip})
  })

  it('sends no object that the branch does not reach', async () => {
    const old = branch() ?? ''
    const hidden = door.box.gitWith('agent', {input: 'hidden\n'}, 'hash-object', '-w', '--stdin')
    const tip = commit()
    const reached = door.box.git('agent', 'rev-list', '--objects', tip, `^${old}`).split('\n')
    const objects = [...reached.map((line) => line.slice(0, 40)), hidden].join('\n')
    const pack = execFileSync('git', ['-C', door.box.path('agent'), 'pack-objects', '--stdout', '-q'], {
      env: door.box.env,
      input: `${objects}\n`,
      stdio: 'pipe',
    })
    const line = `${old} ${tip} refs/heads/fix\0 report-status`
    const head = `${(line.length + 4).toString(16).padStart(4, '0')}${line}0000`
    const {body} = await door.request({
      method: 'POST',
      path: '/org/app.git/git-receive-pack',
      handle: task.handle,
      headers: {host: 'forge.example.com', 'content-type': 'application/x-git-receive-pack-request'},
      body: Buffer.concat([Buffer.from(head), pack]),
    })
    expect(body.toString()).toContain('ok refs/heads/fix')
    expect(branch()).toBe(tip)
    expect(forge.has(hidden)).toBe(false)
  })
})

describe('a fetch', () => {
  it('comes from the upstream itself, also shallow, partial and of a repository to read', () => {
    for (const args of [['--depth', '1'], ['--filter=blob:none'], ['--no-tags', '--single-branch']])
      door.clone(task, `clone-${args[0] ?? ''}`, ...args)
    const {code} = door.gitAs(task, '.', 'clone', '-q', door.forgeUrl('org/lib'), 'lib')
    expect(code).toBe(0)
    expect(door.box.git('lib', 'show', 'HEAD:README.md')).toBe('library')
  })

  it('of a repository that is not in the policy looks like one that does not exist', () => {
    forge.create('org/secret.git')
    const there = door.gitAs(task, '.', 'ls-remote', door.forgeUrl('org/secret.git'))
    const absent = door.gitAs(task, '.', 'ls-remote', door.forgeUrl('org/absent.git'))
    expect(there.code).toBe(128)
    expect(there.stderr.replace('secret', 'absent')).toBe(absent.stderr)
    const written = door.gitAs(task, 'agent', 'push', door.forgeUrl('org/lib.git'), 'fix')
    expect(written.stderr).toContain('read-only')
  })
})

describe('when the upstream fails', () => {
  it('applied and dropped the connection: the agent gets a clean answer', async () => {
    const tip = commit()
    forge.fail({dropAfterPush: true})
    const {code, stderr} = await push()
    expect({code, stderr}).toMatchObject({code: 0})
    expect(branch()).toBe(tip)
    expect(door.journal({task: 'fix'}).at(-1)).toMatchObject({phase: 'outcome', decision: 'allow'})
  })

  it('dropped the connection before it applied: refused, and the next attempt works', async () => {
    const old = branch()
    const tip = commit()
    forge.fail({dropBeforePush: true})
    const {code, stderr} = await push()
    expect({code, stderr}).toEqual({code: 1, stderr: expect.stringContaining('upstream')})
    expect(branch()).toBe(old)
    forge.fail({})
    expect((await push()).code).toBe(0)
    expect(branch()).toBe(tip)
  })

  it.each([
    [401, 'credential'],
    [403, 'credential'],
    [404, 'no such repository'],
    [301, 'elsewhere'],
    [500, 'status 500'],
  ])('status %d: one sentence, never a question for a password', (status, words) => {
    forge.fail({status})
    const {code, stderr} = door.gitAs(task, 'agent', 'ls-remote', 'origin')
    expect({code, stderr}).toEqual({code: 128, stderr: expect.stringContaining(words)})
    expect(stderr).toContain('cage:')
    expect(stderr).not.toMatch(/Username|Password/)
    const pushed = door.gitAs(task, 'agent', 'push', 'origin', 'fix')
    expect({code: pushed.code, stderr: pushed.stderr}).toEqual({
      code: 128,
      stderr: expect.stringContaining(words),
    })
  })

  it('a server that knows Bearer alone is given that', async () => {
    forge.fail({bearer: true})
    const tip = commit()
    expect((await push()).code).toBe(0)
    expect(branch()).toBe(tip)
    door.tellUpstreams({}, forge.url('org/lib.git'))
  })
})

describe('the credential', () => {
  it('is asked for again after a restart of gate, and told why', async () => {
    await door.kill('gate')
    door.startGate()
    await door.ready()
    const {stderr} = door.gitAs(task, 'agent', 'ls-remote', 'origin')
    expect(stderr).toContain('cage up')
    door.tellUpstreams({}, forge.url('org/lib.git'))
    expect(door.gitAs(task, 'agent', 'ls-remote', 'origin').code).toBe(0)
  })

  it('is nowhere but in the heap of gate', () => {
    forge.fail({echoes: true})
    commit()
    const traced = {GIT_TRACE: '1', GIT_TRACE_CURL: '1', GIT_TRACE_PACKET: '1'}
    const {code, stderr} = door.gitAs({...task, env: traced}, 'agent', 'push', '--verbose', 'origin', 'fix')
    expect(stderr).toContain('Send header')
    expect(code).toBe(0)
    forge.fail({echoes: 'always'})
    const fetched = door.gitAs({...task, env: traced}, 'agent', 'fetch', 'origin')
    expect(fetched.code).not.toBe(0)
    forge.fail({})
    expect(door.gitAs(task, 'agent', 'fetch', 'origin').code).toBe(0)
    const basic = Buffer.from(`x-access-token:${forge.token}`).toString('base64')
    const patterns = ['-e', forge.token, '-e', basic]
    const {stdout} = spawnSync('grep', ['-rlaF', ...patterns, door.volume, door.state, door.run])
    expect(stdout.toString()).toBe('')
    for (const text of [stderr, fetched.stdout, fetched.stderr, door.log]) {
      expect(text).not.toContain(forge.token)
      expect(text).not.toContain(basic)
    }
    for (const which of ['gate', 'git'] as const)
      for (const file of ['environ', 'cmdline'])
        expect(readFileSync(`/proc/${door.pid(which)}/${file}`, 'latin1')).not.toContain(forge.token)
  })
})

describe('the git container', () => {
  it('that dies between upstream and journal finds out what became of the push', async () => {
    await door.kill('git')
    door.startGit({fault: 'before update-ref'})
    await door.ready()
    const tip = commit()
    expect((await push()).code).not.toBe(0)
    await door.exited('git')
    expect(branch()).toBe(tip)
    // twice: what only the upstream knows stays open over starts that ask nobody
    for (let start = 0; start < 2; start++) {
      await door.kill('git')
      door.startGit()
      await door.ready()
    }
    expect((await push()).stderr).toContain('Everything up-to-date')
    const records = door.journal({task: 'fix'})
    const intent = records.filter(({phase}) => phase === 'intent').at(-1)
    expect(
      records.filter(({request, phase}) => request === intent?.['request'] && phase === 'outcome'),
    ).toMatchObject([{reconciled: true, decision: 'allow'}])
  })

  it('cannot send what no open push may change', async () => {
    const before = forge.refs()
    const commands = [{old: before['refs/heads/main'], new: '0'.repeat(40), ref: 'refs/heads/main'}]
    const status = await new Promise<number>((resolve) => {
      request(
        {
          socketPath: `${door.run}/gate.sock`,
          method: 'POST',
          path: `/upstream/${encodeURIComponent('forge.example.com/org/app.git')}/git-receive-pack`,
          headers: {
            'x-cage-request': 'made-up',
            'x-cage-commands': Buffer.from(JSON.stringify({commands, capabilities: []})).toString('base64'),
          },
        },
        (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        },
      ).end()
    })
    expect(status).toBe(502)
    expect(forge.refs()).toEqual(before)
  })
})
