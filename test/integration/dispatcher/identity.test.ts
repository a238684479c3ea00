import {readFileSync, writeFileSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {generateGrantKey, newHandle} from '../../../policy/sign.js'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'

let door: TestDispatcher

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
})
afterAll(() => door.stop())

const ls = (task: {handle: string}) => door.gitAs(task, '.', 'ls-remote', door.url())
const put = (task: TestTask) => door.control({op: 'document.put', part: task.part})
const documentPath = (name: string) => `${door.volume}/documents/${name}.json`
const restartGate = async () => {
  await door.kill('gate')
  door.startGate()
  await door.ready()
}

describe('who is let in', () => {
  it('a handle with a document, and /ready says so', async () => {
    const task = door.task('known')
    expect(ls(task)).toMatchObject({code: 0, stdout: expect.stringContaining('refs/heads/main')})
    const {status, body} = await door.request({path: '/ready', handle: task.handle})
    expect({status, answer: JSON.parse(body.toString())}).toEqual({
      status: 200,
      answer: {ready: true, task: 'known', repository: 'shop.git', branch: 'known'},
    })
  })

  it.each([
    ['none', undefined],
    ['an unknown one', newHandle()],
    ['an empty one', ''],
    ['a long one', `cgt_${'a'.repeat(5000)}`],
  ])('not %s, and never with 401', async (_, handle) => {
    const asked = handle === undefined ? {} : {handle}
    const advertised = await door.request({path: '/shop.git/info/refs?service=git-upload-pack', ...asked})
    expect(advertised.status).toBe(200)
    expect(advertised.body.toString()).toMatch(/ERR cage: this task is not known here/)
    for (const path of ['/ready', '/shop.git/git-upload-pack', '/shop.git/git-receive-pack']) {
      const {status, body, headers} = await door.request({
        method: path === '/ready' ? 'GET' : 'POST',
        path,
        headers: {'content-type': `application/x-${path.slice(10)}-request`},
        ...(path === '/ready' ? {} : {body: '0000'}),
        ...asked,
      })
      expect({path, status}).toEqual({path, status: 403})
      expect(JSON.parse(body.toString())).toEqual({message: expect.stringMatching(/^cage: /)})
      expect(headers['www-authenticate']).toBeUndefined()
    }
  })

  it('not the SHA-256 of a handle, not two handles at once, not a handle elsewhere', async () => {
    const task = door.task('exact')
    expect(ls({handle: task.part.head.handleSha256}).code).not.toBe(0)
    const twice = await door.request({path: '/ready', headers: {'x-cage-handle': [task.handle, task.handle]}})
    expect(twice.status).toBe(403)
    const elsewhere = await door.request({path: '/ready', headers: {authorization: `Bearer ${task.handle}`}})
    expect(elsewhere.status).toBe(403)
    expect((await door.request({path: '/ready', handle: task.handle})).status).toBe(200)
  })

  it('git says in words what is wrong', () => {
    expect(ls({handle: newHandle()}).stderr).toMatch(/fatal: remote error: cage: this task is not known here/)
  })
})

describe('ID-3: handles of others and of the past', () => {
  it("another task's handle gives that task's rights only", () => {
    const [mine, theirs] = [door.task('mine'), door.task('theirs')]
    door.clone(mine, 'mine')
    const tip = door.box.commit('mine', 'mine', 'x', 'x\n')
    expect(door.gitAs(theirs, 'mine', 'push', 'origin', 'mine').code).toBe(1)
    expect(door.has(tip)).toBe(false)
    expect(door.gitAs(mine, 'mine', 'push', 'origin', 'mine').code).toBe(0)
  })

  it('a handle is dead after its document was removed, also after restarts and with the document put back', async () => {
    const task = door.task('gone')
    const kept = readFileSync(documentPath('gone'))
    expect(ls(task).code).toBe(0)
    expect(JSON.parse(door.control({op: 'document.remove', task: 'gone'}).stdout)).toEqual({removed: true})
    expect(ls(task).code).not.toBe(0)
    expect(put(task).code).toBe(1)
    writeFileSync(documentPath('gone'), kept)
    await restartGate()
    expect(ls(task).code).not.toBe(0)
    const again = door.task('gone')
    expect(ls(again).code).toBe(0)
    expect(ls(task).code).not.toBe(0)
  })

  it('a new handle for a task replaces the old one', () => {
    const old = door.task('turned')
    const fresh = door.task('turned')
    expect(ls(old).code).not.toBe(0)
    expect(ls(fresh).code).toBe(0)
    expect(put(old).code).toBe(1)
  })
})

describe('ID-12: documents', () => {
  it('with a wrong signature, another key, another project or a changed body are refused', () => {
    const good = door.signed('signed')
    const wider = {...good.part, body: good.part.body.replace('"force":false', '"force":true')}
    expect(wider.body).not.toBe(good.part.body)
    const foreign = door.signed('signed', {}, {}, newHandle(), generateGrantKey().privateKeyPem)
    const project = door.signed('signed', {project: 'other-00000000'})
    const operator = door.signed('signed', {principal: 'operator'})
    const head = {...good.part, head: {...good.part.head, revision: 9}}
    for (const part of [wider, foreign.part, project.part, operator.part, head, {}, null, 'x', [good.part]]) {
      const {code, stdout} = door.control({op: 'document.put', part})
      expect(code).toBe(1)
      expect(JSON.parse(stdout)).toEqual({
        error: {code: expect.any(String), message: expect.any(String), hints: []},
      })
    }
    expect(put(good).code).toBe(0)
    expect(ls(good).code).toBe(0)
  })

  it('rise in revision, and never fall', () => {
    const handle = newHandle()
    const [one, two] = [
      door.signed('rising', {revision: 1}, {}, handle),
      door.signed('rising', {revision: 2}, {}, handle),
    ]
    expect(put(one).code).toBe(0)
    expect(put(two).code).toBe(0)
    expect(put(two).code).toBe(0)
    const {code, stdout} = put(one)
    expect({code, stdout}).toEqual({code: 1, stdout: expect.stringContaining('revision 1 is older than 2')})
    const {documents} = JSON.parse(door.control({op: 'document.list'}).stdout) as {
      documents: {task: string}[]
    }
    expect(documents.find((document) => document.task === 'rising')).toEqual({
      task: 'rising',
      revision: 2,
      repository: 'shop.git',
      branch: 'rising',
      handle: two.part.head.handleSha256.slice(0, 12),
    })
  })

  it('edited, swapped or put back in an older revision on the volume open nothing', async () => {
    const handle = newHandle()
    const [old, now] = [
      door.signed('kept', {revision: 1}, {force: true}, handle),
      door.signed('kept', {revision: 2}, {}, handle),
    ]
    put(old)
    const oldBytes = readFileSync(documentPath('kept'))
    put(now)
    const edited = door.task('edited')
    const [left, right] = [door.task('left'), door.task('right')]
    const untouched = door.task('untouched')
    writeFileSync(documentPath('kept'), oldBytes)
    writeFileSync(
      documentPath('edited'),
      readFileSync(documentPath('edited'), 'utf8').replace('\\"delete\\":false', '\\"delete\\":true'),
    )
    writeFileSync(documentPath('left'), readFileSync(documentPath('right')))
    writeFileSync(documentPath('junk'), 'not json')
    await restartGate()
    expect(ls(now).code).not.toBe(0)
    expect(ls(edited).code).not.toBe(0)
    expect(ls(left).code).not.toBe(0)
    expect(ls(right).code).toBe(0)
    expect(ls(untouched).code).toBe(0)
    const refused = door.journal().filter(({op, decision}) => op === 'document.load' && decision === 'deny')
    expect(refused.map(({task}) => task)).toEqual(expect.arrayContaining(['kept', 'edited', 'left', 'junk']))
    // the operator repairs by putting them again
    expect(put(now).code).toBe(0)
    expect(ls(now).code).toBe(0)
  })

  it('survive restarts of both processes', async () => {
    const task = door.task('lasting')
    await door.kill('git')
    await door.kill('gate')
    door.startGit()
    door.startGate()
    await door.ready()
    expect(ls(task).code).toBe(0)
  })
})

describe('repositories', () => {
  it('that a document does not name look like ones that do not exist', async () => {
    door.control({op: 'repository.init', repository: 'private.git', defaultBranch: 'main'})
    const task = door.task('nosy')
    const ask = async (name: string) => {
      const {status, body} = await door.request({
        path: `/${name}/info/refs?service=git-upload-pack`,
        handle: task.handle,
      })
      return {status, text: body.toString().replaceAll(name, 'NAME')}
    }
    const [there, absent] = [await ask('private.git'), await ask('absentt.git')]
    expect(there).toEqual(absent)
    expect(there.text).toMatch(/ERR cage: there is no repository NAME for this task/)
    for (const name of ['private.git', 'absentt.git']) {
      const {status, body} = await door.request({
        method: 'POST',
        path: `/${name}/git-upload-pack`,
        handle: task.handle,
        headers: {'content-type': 'application/x-git-upload-pack-request'},
        body: '0000',
      })
      expect({status, body: body.toString()}).toEqual({
        status: 404,
        body: `cage: there is no repository ${name} for this task\n`,
      })
    }
  })

  it('listed under read are fetched and never written', () => {
    const task = door.task('reader', {read: ['https://git.cage.internal/private.git']})
    expect(door.gitAs(task, '.', 'ls-remote', door.url('private.git')).code).toBe(0)
    door.clone(task, 'reader')
    const {code, stderr} = door.gitAs(
      task,
      'reader',
      'push',
      door.url('private.git'),
      'main:refs/heads/reader',
    )
    expect({code, stderr}).toEqual({
      code: 128,
      stderr: expect.stringContaining('private.git is read-only for this task'),
    })
    expect(door.journal({task: 'reader'})).toContainEqual(
      expect.objectContaining({
        op: 'push',
        decision: 'deny',
        ruleId: ['repository.read'],
        reason: ['private.git is read-only for this task'],
      }),
    )
  })

  it('a refused repository is on record, a name that is a secret is not', async () => {
    const task = door.task('curious')
    const token = `ghp_${'a1B2c3D4e5'.repeat(4).slice(0, 36)}`
    const query = 'info/refs?service=git-upload-pack'
    await door.request({path: `/other.git/${query}`, handle: task.handle})
    const elsewhere = {host: 'forge.example.com'}
    await door.request({path: `/org/${token}.git/${query}`, handle: task.handle, headers: elsewhere})
    const records = door.journal({task: 'curious'}).filter(({decision}) => decision === 'deny')
    expect(records.map(({op, reason}) => [op, reason])).toEqual([
      ['fetch', ['there is no repository other.git for this task']],
      ['fetch', [expect.not.stringContaining('ghp_')]],
    ])
  })

  it.each([
    '/../shop.git',
    '/%2e%2e/shop.git',
    '/shop.git/../shop.git',
    '//shop.git',
    '/shop%2egit',
    '/x/shop.git',
    '/shop.git\\',
    '/.git',
    '/-u.git',
  ])('%s is not reachable', async (path) => {
    const task = door.task('paths')
    const {status, body} = await door.request({
      path: `${path}/info/refs?service=git-upload-pack`,
      handle: task.handle,
    })
    expect({path, ok: status === 404 || body.includes('ERR cage: there is no repository')}).toEqual({
      path,
      ok: true,
    })
  })
})

describe('the control channel', () => {
  it('answers errors as JSON and exit code 1', () => {
    for (const request of [
      {op: 'nothing'},
      {op: 'document.remove'},
      {op: 'document.remove', task: '../x'},
      {op: 'refs', repository: 'none'},
    ]) {
      const {code, stdout} = door.control(request)
      expect({code, answer: JSON.parse(stdout)}).toMatchObject({
        code: 1,
        answer: {error: {message: expect.any(String)}},
      })
    }
  })

  it('makes a repository once, and tells its refs', () => {
    const init = {op: 'repository.init', repository: 'made', defaultBranch: 'trunk'}
    expect(JSON.parse(door.control(init).stdout)).toEqual({repository: 'made.git', created: true})
    expect(JSON.parse(door.control(init).stdout)).toEqual({repository: 'made.git', created: false})
    expect(JSON.parse(door.control({op: 'refs', repository: 'made'}).stdout)).toEqual({
      repository: 'made.git',
      head: 'refs/heads/trunk',
      refs: {},
    })
    expect(JSON.parse(door.control({op: 'refs', repository: 'shop.git'}).stdout)).toMatchObject({
      refs: door.refs(),
    })
    for (const bad of ['..', 'a/b', '.git', '']) {
      expect(door.control({...init, repository: bad}).code).toBe(1)
    }
  })
})
