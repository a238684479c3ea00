import {execFileSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {gzipSync} from 'node:zlib'
import {connect, type ConnectionOptions} from 'node:tls'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {flush, packet} from '../../../dispatcher/wire/pkt-line.js'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'

const ZERO = '0'.repeat(40)
const CAPABILITIES = 'report-status side-band-64k object-format=sha1 agent=test/1'

let door: TestDispatcher
let task: TestTask
let tip: string
let pack: Buffer
let before: Record<string, string>

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  task = door.task('fix')
  door.clone(task, 'agent')
  tip = door.box.commit('agent', 'fix', 'x.txt', 'x\n')
  const input = door.box.git('agent', 'rev-list', '--objects', tip, '^origin/main').replace(/ .*/gm, '')
  pack = execFileSync('git', ['-C', door.box.path('agent'), 'pack-objects', '--stdout', '-q'], {
    env: door.box.env,
    input,
  })
  before = door.refs()
})
afterAll(() => door.stop())

const post = (body: Buffer | string, headers: Record<string, string> = {}) =>
  door.request({
    method: 'POST',
    path: '/shop.git/git-receive-pack',
    handle: task.handle,
    headers: {'content-type': 'application/x-git-receive-pack-request', ...headers},
    body,
  })
const command = (text: string, capabilities = CAPABILITIES) => packet(`${text}\0${capabilities}`)
const create = (ref = 'refs/heads/fix', id = tip) => `${ZERO} ${id} ${ref}`
const request = (...parts: (Buffer | string)[]) => Buffer.concat(parts.map((part) => Buffer.from(part)))

async function expectUnchanged(body: Buffer, answer: RegExp, status = 200): Promise<void> {
  const got = await post(body)
  expect({status: got.status, body: got.body.toString('latin1')}).toEqual({
    status,
    body: expect.stringMatching(answer),
  })
  expect(door.refs()).toEqual(before)
  expect(door.has(tip)).toBe(false)
}

describe('GIT-12: pkt-line and commands', () => {
  it.each<[string, () => Buffer]>([
    ['a length that is no number', () => request('zzzz', pack)],
    ['a signed length', () => request('+00c1234567', pack)],
    ['a length with a prefix', () => request('0x0c12345678', pack)],
    ['length 1', () => request('0001', pack)],
    ['length 2', () => request('0002', pack)],
    ['length 3', () => request('0003', pack)],
    ['a length beyond the maximum', () => request('fff5', Buffer.alloc(70_000))],
    ['a length beyond the end', () => request('00ff', 'short')],
    ['the end inside a length', () => request('00')],
    ['no flush before the end', () => request(command(create()).subarray(0, -3))],
    ['a broken packet after a good one', () => request(command(create()), 'gggg', pack)],
  ])('%s ends the request with 400', async (_, body) => expectUnchanged(body(), /^cage: /, 400))

  it.each<[string, () => Buffer]>([
    ['upper-case ids', () => command(create('refs/heads/fix', tip.toUpperCase()))],
    ['short ids', () => command(`${ZERO.slice(1)} ${tip} refs/heads/fix`)],
    ['sha256 ids', () => command(`${'0'.repeat(64)} ${'1'.repeat(64)} refs/heads/fix`)],
    ['two spaces', () => command(`${ZERO}  ${tip} refs/heads/fix`)],
    ['a tab', () => command(`${ZERO}\t${tip} refs/heads/fix`)],
    ['a line feed inside', () => command(create('refs/heads/fix\nrefs/heads/main'))],
    ['no ref', () => command(`${ZERO} ${tip} `)],
    ['zero to zero', () => command(`${ZERO} ${ZERO} refs/heads/fix`)],
    ['text', () => command('hello')],
  ])('%s are refused as a whole', async (_, line) =>
    expectUnchanged(request(line(), flush, pack), /unpack .*(malformed|neither)/s),
  )

  it.each<[string, () => Buffer[]]>([
    [
      'NUL in a later command',
      () => [command(create()), packet(`${ZERO} ${tip} refs/heads/fix\0delete-refs`)],
    ],
    ['the same ref twice', () => [command(create()), packet(create())]],
    [
      'invalid UTF-8',
      () => [
        command(create()),
        packet(Buffer.concat([Buffer.from(`${ZERO} ${tip} refs/heads/`), Buffer.from([0xff, 0xfe])])),
      ],
    ],
    ['a ref of 2 KiB', () => [command(create()), packet(create(`refs/heads/${'a'.repeat(2000)}`))]],
    [
      '65 commands',
      () => [command(create()), ...Array.from({length: 64}, (_, n) => packet(create(`refs/heads/b${n}`)))],
    ],
    [
      '9 commands where 8 are granted',
      () => [command(create()), ...Array.from({length: 8}, (_, n) => packet(create(`refs/heads/b${n}`)))],
    ],
    [
      'a push certificate',
      () => [
        packet(`push-cert\0${CAPABILITIES}`),
        packet('certificate version 0.1'),
        packet('push-cert-end'),
      ],
    ],
  ])('%s: nothing of it happens', async (_, lines) =>
    expectUnchanged(request(...lines(), flush, pack), /unpack |ng refs/),
  )

  it.each([
    'refs/heads/../../x',
    'refs/heads/fix.lock',
    'refs/heads/.fix',
    'refs/heads/fix..x',
    'refs/heads/fix~1',
    'refs/heads/fi x',
    'refs/heads/fix@{1}',
    'refs//heads/fix',
    '/refs/heads/fix',
    'refs/heads/fix/',
    'HEAD',
    'fix',
    '-x',
    'config',
  ])('the name %s is refused', async (ref) =>
    expectUnchanged(request(command(create(ref)), flush, pack), /ng /),
  )

  it.each([
    'push-options',
    'no-thin',
    'report-status evil=1',
    'agent',
    'object-format=sha256',
    'delete-refs=1',
  ])('the capability %s, which was not offered, is refused', async (capability) =>
    expectUnchanged(request(command(create(), `report-status ${capability}`), flush, pack), /unpack /),
  )

  it('answers on band 2 with words and on band 1 with a report', async () => {
    const {body} = await post(request(command(create('refs/heads/main', tip)), flush, pack))
    const text = body.toString()
    expect(text).toMatch(/\x02cage: \[ref\] "refs\/heads\/main": not the branch of this task\n/)
    expect(text).toMatch(/\x02cage: request [0-9A-Z]{26}\n/)
    expect(text).toMatch(/unpack ok\n.*ng refs\/heads\/main not the branch of this task\n0000/s)
    expect(text).toMatch(/0000$/)
  })

  it('shows no control characters of the client', async () => {
    const {body} = await post(request(command(create('refs/heads/\u001b[31mx\u202e')), flush, pack))
    const shown = body
      .toString()
      .split('\x02')
      .slice(1)
      .map((line) => line.slice(0, line.indexOf('\n')))
      .join('\n')
    expect(shown).not.toMatch(/[\u001b\u202e]/)
  })
})

describe('what real clients do', () => {
  it('the probe before a large push gets 200 and nothing', async () => {
    const {status, body} = await post('0000')
    expect({status, length: body.length}).toEqual({status: 200, length: 0})
  })

  it('shallow lines, gzip and Expect are understood', async () => {
    const task2 = door.task('gz')
    const body = request(packet(`shallow ${tip}`), command(create('refs/heads/gz')), flush, pack)
    const answer = await door.request({
      method: 'POST',
      path: '/shop.git/git-receive-pack',
      handle: task2.handle,
      headers: {
        'content-type': 'application/x-git-receive-pack-request',
        'content-encoding': 'gzip',
        expect: '100-continue',
      },
      body: gzipSync(body),
    })
    expect(answer.body.toString()).toContain('ok refs/heads/gz')
    expect(door.refs()['refs/heads/gz']).toBe(tip)
    before = door.refs()
  })

  it('clones of depth 1, partial clones and large chunked pushes work', () => {
    const deep = door.task('deep')
    door.clone(deep, 'depth', '--depth', '1')
    door.box.commit('depth', 'deep', 'd.txt', 'd\n')
    expect(door.gitAs(deep, 'depth', 'push', '-q', 'origin', 'deep')).toMatchObject({code: 0})
    const partial = door.task('partial')
    door.clone(partial, 'partial', '--filter=blob:none')
    door.box.commit('partial', 'partial', 'p.txt', 'p\n'.repeat(1000))
    expect(
      door.gitAs(partial, 'partial', '-c', 'http.postBuffer=65536', 'push', '-q', 'origin', 'partial'),
    ).toMatchObject({code: 0})
    const large = door.task('large')
    door.clone(large, 'large')
    execFileSync('dd', ['if=/dev/urandom', `of=${door.box.path('noise')}`, 'bs=1M', 'count=6'], {
      stdio: 'ignore',
    })
    const id = door.box.git('large', 'hash-object', '-w', door.box.path('noise'))
    const tree = door.box.gitWith('large', {input: `100644 blob ${id}\tnoise\n`}, 'mktree')
    const made = door.box.git('large', 'commit-tree', tree, '-p', 'origin/main', '-m', 'noise')
    expect(door.gitAs(large, 'large', 'push', '-q', 'origin', `${made}:refs/heads/large`)).toMatchObject({
      code: 0,
    })
    expect(door.refs()['refs/heads/large']).toBe(made)
    // refused with a large body: the reason arrives instead of a broken connection
    const {stderr} = door.gitAs(large, 'large', 'push', 'origin', `${made}:refs/heads/elsewhere`)
    expect(stderr).toMatch(/not the branch of this task/)
    before = door.refs()
  })

  it('fetches with protocol versions 0, 1 and 2', () => {
    for (const version of ['0', '1', '2']) {
      door.clone(task, `v${version}`, '-c', `protocol.version=${version}`)
      expect(door.box.git(`v${version}`, 'rev-parse', 'origin/main')).toBe(before['refs/heads/main'])
      // What was left out is asked for by id.
      for (const filter of ['blob:none', 'combine:blob:none+tree:1']) {
        const name = `v${version}-${filter.length}`
        door.clone(task, name, '-c', `protocol.version=${version}`, `--filter=${filter}`)
        expect(readFileSync(`${door.box.path(name)}/README.md`, 'utf8')).toBe('shop\n')
      }
    }
  })

  it('dry-run changes nothing', () => {
    expect(door.gitAs(task, 'agent', 'push', '--dry-run', 'origin', 'fix').code).toBe(0)
    expect(door.refs()).toEqual(before)
  })
})

describe('HTTP', () => {
  it.each([
    ['GET', '/'],
    ['GET', '/shop.git'],
    ['GET', '/shop.git/HEAD'],
    ['GET', '/shop.git/info/refs'],
    ['GET', '/shop.git/info/refs?service=git-upload-archive'],
    ['GET', '/shop.git/info/refs?service=git-receive-pack&x=1'],
    ['GET', '/shop.git/info/refs?service=git-receive-pack&service=git-upload-pack'],
    ['GET', '/shop.git/objects/info/packs'],
    ['GET', '/shop.git/objects/ab/cdef'],
    ['GET', '/shop.git/config'],
    ['GET', '/shop.git/git-upload-pack'],
    ['PUT', '/shop.git/git-receive-pack'],
    ['POST', '/shop.git/info/refs'],
    ['POST', '/shop.git/git-upload-archive'],
    ['DELETE', '/shop.git'],
    ['GET', '/documents'],
    ['GET', '/journal'],
  ])('%s %s is not available', async (method, path) => {
    const {status, body, headers} = await door.request({method, path, handle: task.handle})
    expect({status, body: body.toString(), type: headers['content-type']}).toEqual({
      status: 404,
      body: 'cage: not available through the dispatcher\n',
      type: 'text/plain',
    })
  })

  it('other hosts are not served, nor are other content types and encodings', async () => {
    const other = await door.request({path: '/ready', handle: task.handle, headers: {host: 'github.com'}})
    expect(other.status).toBe(404)
    expect((await post('0000', {'content-type': 'text/plain'})).status).toBe(415)
    expect((await post('0000', {'content-encoding': 'br'})).status).toBe(400)
    expect((await post('0000', {'content-encoding': 'gzip'})).status).toBe(400)
  })

  it('a body that unpacks without end is cut off', async () => {
    const small = door.task(
      'bomb',
      {},
      {limits: {packBytes: 1e6, blobBytes: 1e6, objects: 100, commits: 10, refs: 8, seconds: 60}},
    )
    const {status, body} = await door
      .request({
        method: 'POST',
        path: '/shop.git/git-receive-pack',
        handle: small.handle,
        headers: {'content-type': 'application/x-git-receive-pack-request', 'content-encoding': 'gzip'},
        body: gzipSync(
          Buffer.concat([request(command(create('refs/heads/bomb')), flush), Buffer.alloc(64 * 1024 * 1024)]),
        ),
      })
      .catch(() => ({status: 0, body: Buffer.alloc(0)}))
    expect({status, done: body.includes('ok refs')}).toEqual({status: expect.any(Number), done: false})
    expect(door.refs()).toEqual(before)
  })

  it('Git LFS is refused in its own words', async () => {
    const {status, headers, body} = await door.request({
      method: 'POST',
      path: '/shop.git/info/lfs/objects/batch',
      handle: task.handle,
      headers: {'content-type': 'application/vnd.git-lfs+json'},
      body: '{"operation":"upload"}',
    })
    expect({status, type: headers['content-type'], message: JSON.parse(body.toString())}).toEqual({
      status: 403,
      type: 'application/vnd.git-lfs+json',
      message: {message: 'cage: the hosted repository keeps no LFS objects'},
    })
  })

  it('smuggling and half requests do not reach git', async () => {
    const raw = (text: string) =>
      new Promise<string>((resolve) => {
        const options: ConnectionOptions = {
          host: '127.0.0.1',
          port: door.port,
          servername: 'git.cage.internal',
          ca: door.certificate,
        }
        const socket = connect(options, () => socket.end(text.replaceAll('\n', '\r\n')))
        let answer = ''
        socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
        socket.on('error', () => resolve(answer))
        socket.on('close', () => resolve(answer))
      })
    const head = `POST /shop.git/git-receive-pack HTTP/1.1\nhost: git.cage.internal\nx-cage-handle: ${task.handle}\ncontent-type: application/x-git-receive-pack-request\n`
    expect(await raw(`${head}content-length: 4\ntransfer-encoding: chunked\n\n0000`)).toMatch(
      /^HTTP\/1.1 400/,
    )
    expect(await raw(`${head}content-length: 4\ncontent-length: 5\n\n0000`)).toMatch(/^HTTP\/1.1 400/)
    expect(await raw('GET / HTTP/1.1\nhost: a\nhost: b\n\n')).not.toMatch(/^HTTP\/1.1 200/)
    await raw(`${head}content-length: 100000\n\n0000PACK`)
    await raw(`${head}transfer-encoding: chunked\n\nffffff\n0000`)
    expect((await post('0000')).status).toBe(200)
    expect(door.quarantined()).toEqual([])
  })

  it('what trickles in behind a refusal is cut off, so that no task takes the connections of the others', async () => {
    const socket = connect({
      host: door.address,
      port: door.port,
      ca: door.certificate,
      servername: 'git.cage.internal',
    })
    const closed = new Promise<void>((resolve) =>
      socket.once('close', () => resolve()).on('error', () => undefined),
    )
    socket.write('POST /nothing HTTP/1.1\r\nHost: git.cage.internal\r\nContent-Length: 100000\r\n\r\n')
    const trickle = setInterval(() => socket.write('x'), 200)
    await closed
    clearInterval(trickle)
    expect((await post(Buffer.concat([flush]))).status).toBe(200)
  }, 60_000)

  it('the session of an abandoned push leaves nothing behind', async () => {
    const body = request(command(create()), flush, pack.subarray(0, pack.length - 40))
    await new Promise<void>((resolve) => {
      const socket = connect(
        {host: '127.0.0.1', port: door.port, servername: 'git.cage.internal', ca: door.certificate},
        () => {
          socket.write(
            `POST /shop.git/git-receive-pack HTTP/1.1\r\nhost: git.cage.internal\r\nx-cage-handle: ${task.handle}\r\ncontent-type: application/x-git-receive-pack-request\r\ncontent-length: ${body.length + 100}\r\n\r\n`,
          )
          socket.write(body, () => setTimeout(() => socket.destroy(), 300))
        },
      )
      socket.on('error', () => undefined)
      socket.on('close', () => resolve())
    })
    const control = door.task('after')
    expect(door.gitAs(control, 'agent', 'push', '-q', 'origin', 'fix:after').code).toBe(0)
    before = {...before, 'refs/heads/after': tip}
    expect(door.refs()).toEqual(before)
    expect(door.quarantined()).toEqual([])
  })
})

describe('at last', () => {
  it('the good push works', async () => {
    const {body} = await post(request(command(create()), flush, pack))
    expect(body.toString()).toContain('ok refs/heads/fix')
    expect(door.refs()['refs/heads/fix']).toBe(tip)
    door.hosted('fsck', '--full', '--strict')
  })
})
