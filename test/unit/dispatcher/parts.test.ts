import {PassThrough} from 'node:stream'
import {describe, expect, it} from '@jest/globals'
import {accessTo, routeOf} from '../../../dispatcher/gate/route.js'
import {TaskLimits} from '../../../dispatcher/gate/limits.js'
import {firstError, saysDiskFull} from '../../../dispatcher/git/children.js'
import {protocolVersion} from '../../../dispatcher/git/fetch.js'
import {recordsOf} from '../../../dispatcher/git/lines.js'
import {NamedLocks, Places, SharedLock} from '../../../dispatcher/git/locks.js'
import {isTaskName, repositoryName} from '../../../dispatcher/socket-api.js'
import {PushAnswer} from '../../../dispatcher/wire/report.js'
import {plain, quoted} from '../../../dispatcher/wire/text.js'
import {ulid} from '../../../dispatcher/wire/ulid.js'
import {gitGrant} from '../../support/grants.js'

const host = 'git.cage.internal'

describe('routes', () => {
  it.each([
    ['GET', '/ready', {kind: 'ready'}],
    [
      'GET',
      '/shop.git/info/refs?service=git-upload-pack',
      {kind: 'advertise', repository: 'shop.git', service: 'git-upload-pack'},
    ],
    [
      'GET',
      '/shop/info/refs?service=git-receive-pack',
      {kind: 'advertise', repository: 'shop.git', service: 'git-receive-pack'},
    ],
    ['POST', '/shop.git/git-upload-pack', {kind: 'fetch', repository: 'shop.git'}],
    ['POST', '/shop.git/git-receive-pack', {kind: 'push', repository: 'shop.git'}],
    [
      'POST',
      '/shop.git/info/lfs/objects/batch',
      {kind: 'lfs', repository: 'shop.git', action: 'objects/batch'},
    ],
    ['GET', '/ready?x', {kind: 'unknown'}],
    ['POST', '/ready', {kind: 'unknown'}],
    ['GET', '/shop.git/info/refs', {kind: 'unknown'}],
    ['GET', '/shop.git/info/refs?service=git-upload-pack#x', {kind: 'unknown'}],
    ['GET', '/SHOP.git/info/refs?service=git-upload-pack', {kind: 'unknown'}],
    ['GET', 'https://git.cage.internal/ready', {kind: 'unknown'}],
    ['POST', '/a/b.git/git-receive-pack', {kind: 'unknown'}],
    ['POST', '/shop%2egit/git-receive-pack', {kind: 'unknown'}],
  ])('%s %s', (method, target, route) => expect(routeOf(method, target, host)).toEqual(route))

  it('exist for one host only', () => {
    expect(routeOf('GET', '/ready', 'GIT.cage.internal:8443')).toEqual({kind: 'ready'})
    for (const other of [
      undefined,
      '',
      'github.com',
      'git.cage.internal.evil',
      'x.git.cage.internal',
      'git.cage.internal:x',
    ])
      expect(routeOf('GET', '/ready', other)).toEqual({kind: 'unknown'})
  })

  it('lead to what the document names', () => {
    const grant = gitGrant({read: ['https://git.cage.internal/lib.git', 'https://github.com/org/other']})
    expect(['shop.git', 'lib.git', 'other.git', 'x.git'].map((name) => accessTo(grant, name).rights)).toEqual(
      ['write', 'read', 'none', 'none'],
    )
    expect(accessTo(grant, 'github.com/Org/Other.git')).toEqual({
      rights: 'read',
      repository: 'github.com/org/other.git',
    })
  })

  it('to an upstream are named by host and path, as the document writes them', () => {
    const host = 'Forge.example.com:443'
    const repository = 'forge.example.com/Group/sub/app.git'
    for (const path of ['/Group/sub/app', '/Group/sub/app.git'])
      expect(routeOf('POST', `${path}/git-receive-pack`, host)).toEqual({kind: 'push', repository})
    for (const path of ['/Group/../app', '/Group//app', '/%47roup/app', '/.git', '', '/a b', '/a/./b'])
      expect(routeOf('POST', `${path}/git-receive-pack`, host)).toEqual({kind: 'unknown'})
    expect(routeOf('GET', '/ready', host)).toEqual({kind: 'unknown'})
    const url = 'https://forge.example.com/group/sub/app/'
    const grant = gitGrant({upstream: {kind: 'git', url}, repository: 'group/sub/app.git'})
    expect(accessTo(grant, repository)).toEqual({
      rights: 'write',
      repository: 'forge.example.com/group/sub/app.git',
    })
    expect(accessTo(grant, 'app.git').rights).toBe('none')
    expect(accessTo(grant, 'other.example.com/group/sub/app.git').rights).toBe('none')
  })
})

describe('names', () => {
  it('of repositories have one spelling', () => {
    expect(['shop', 'shop.git', '/shop.git'].map(repositoryName)).toEqual([
      'shop.git',
      'shop.git',
      'shop.git',
    ])
    for (const bad of ['', '.git', '..', 'a/b', '../x', '-x', 'A', 'a..b', 'x'.repeat(90), 'a b', 'a\0'])
      expect(repositoryName(bad)).toBeUndefined()
  })

  it('of tasks are DNS labels', () => {
    expect(['a', 'fix-login-1'].every(isTaskName)).toBe(true)
    expect(['', '-a', 'a-', 'A', 'a.b', '../a', 'a/b', 'x'.repeat(64)].some(isTaskName)).toBe(false)
  })

  it('of requests sort by time', () => {
    const [early, late] = [ulid(1_000_000_000_000), ulid(1_000_000_000_001)]
    expect(early < late).toBe(true)
    expect(early).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/)
  })
})

describe('text', () => {
  it('is printable ASCII of bounded length', () => {
    expect(plain('a\u001b[31m\u202eb\u00e9\n')).toBe('a\\u{1b}[31m\\u{202e}b\\u{e9}\\u{a}')
    expect(plain('x'.repeat(500))).toHaveLength(200)
    expect(quoted('a"b')).toBe('"a\\"b"')
  })

  it('of git loses its paths', () => {
    expect(firstError("remote: x\nfatal: cannot open '/var/lib/cage/quarantine/ab/pack': gone\n")).toBe(
      'cannot open <path>: gone',
    )
    expect(firstError('nothing')).toBe('')
    expect(saysDiskFull("fatal: sha1 file 'x' write error. Out of diskspace")).toBe(true)
    expect(saysDiskFull('fatal: early EOF')).toBe(false)
  })

  it('asking for a protocol version is taken only in its exact form', () => {
    expect(
      ['version=2', 'version=1', 'version=2:x', 'version=3', '', undefined].map(protocolVersion),
    ).toEqual(['version=2', 'version=1', undefined, undefined, undefined, undefined])
  })
})

describe('records of a stream', () => {
  it('are cut at the separator, however the chunks come', async () => {
    const stream = new PassThrough()
    for (const chunk of ['a', 'b\nc', '\n\nd', 'e']) stream.write(chunk)
    stream.end()
    const records: string[] = []
    for await (const record of recordsOf(stream)) records.push(record.toString())
    expect(records).toEqual(['ab', 'c', '', 'de'])
  })
})

describe('answers to a push', () => {
  const answer = (capabilities: string[], work: (answer: PushAnswer) => void) => {
    const output = new PassThrough()
    work(new PushAnswer(output, new Set(capabilities)))
    return (output.read() as Buffer | null)?.toString() ?? ''
  }
  const report = (one: PushAnswer) => {
    one.say('hello\u001b')
    one.progress('working')
    one.end('ok', [{ref: 'refs/heads/a'}, {ref: 'refs/heads/b', reason: 'no\nway'}])
  }

  it('use the bands the client knows', () => {
    expect(answer(['side-band-64k', 'report-status'], report)).toBe(
      '0017\x02cage: hello\\u{1b}\n0013\x02cage: working\r004a\x01000eunpack ok\n0014ok refs/heads/a\n001fng refs/heads/b no\\u{a}way\n00000000',
    )
  })

  it('are bare, quiet or empty for clients that want it so', () => {
    expect(answer(['report-status'], report)).toBe(
      '000eunpack ok\n0014ok refs/heads/a\n001fng refs/heads/b no\\u{a}way\n0000',
    )
    expect(answer(['side-band-64k', 'quiet', 'report-status-v2'], report)).not.toContain('working')
    expect(answer([], report)).toBe('')
  })

  it('are at most 20 lines of words', () => {
    const text = answer(['side-band-64k'], (one) => {
      for (let n = 0; n < 100; n++) one.say(`line ${n}`)
      one.end('ok', [])
    })
    expect(text.match(/cage: line/g)).toHaveLength(20)
  })
})

describe('locks', () => {
  it('by name let one in at a time, in turn', async () => {
    const locks = new NamedLocks()
    const order: string[] = []
    const hold = (names: string[], label: string) =>
      locks.hold(names, async () => {
        order.push(`${label}+`)
        await Promise.resolve()
        order.push(`${label}-`)
      })
    await Promise.all([hold(['a', 'b'], '1'), hold(['b', 'a'], '2'), hold(['c'], '3')])
    expect(order.indexOf('1-')).toBeLessThan(order.indexOf('2+'))
    expect(order.indexOf('3+')).toBeLessThan(order.indexOf('1-') + 4)
    await expect(locks.hold(['a'], () => Promise.reject(new Error('x')))).rejects.toThrow('x')
    await locks.hold(['a'], () => Promise.resolve())
  })

  it('are shared by many and owned by one, when nobody uses them', async () => {
    const lock = new SharedLock()
    let release: () => void = () => undefined
    const user = lock.share(() => new Promise<void>((resolve) => (release = resolve)))
    await Promise.resolve()
    expect(await lock.own(() => Promise.resolve())).toBe(false)
    release()
    await user
    let owned = false
    const owner = lock.own(async () => {
      await new Promise((resolve) => setImmediate(resolve))
      owned = true
    })
    await lock.share(() => {
      expect(owned).toBe(true)
      return Promise.resolve()
    })
    expect(await owner).toBe(true)
  })

  it('on places let in as many as there are', async () => {
    const places = new Places(2)
    let inside = 0
    let most = 0
    await Promise.all(
      Array.from({length: 7}, () =>
        places.use(async () => {
          most = Math.max(most, ++inside)
          await new Promise((resolve) => setImmediate(resolve))
          inside--
        }),
      ),
    )
    expect({most, inside}).toEqual({most: 2, inside: 0})
  })
})

describe('limits of a task', () => {
  let now = 0
  const clock = {now: () => now, sleep: () => Promise.resolve()}

  it('hold its requests at once, the next ones wait their turn, and nobody else', async () => {
    const limits = new TaskLimits(clock)
    const running = await Promise.all(Array.from({length: 8}, () => limits.begin('a', false)))
    expect(running.every(Boolean)).toBe(true)
    const begun: number[] = []
    const waiting = Array.from({length: 24}, async (_, n) => {
      const over = await limits.begin('a', false)
      begun.push(n)
      return over
    })
    expect(await limits.begin('a', false)).toBeUndefined()
    expect(await limits.begin('b', false)).toBeDefined()
    expect(begun).toEqual([])
    running[0]?.()
    running[0]?.()
    const first = await waiting[0]
    expect(begun).toEqual([0])
    first?.()
    for (const over of running) over?.()
    for (const next of waiting) (await next)?.()
    expect(begun).toEqual(Array.from({length: 24}, (_, n) => n))
    expect(await limits.begin('a', false)).toBeDefined()
  })

  it('hold its pushes over time', async () => {
    const limits = new TaskLimits(clock)
    let pushes = 0
    for (let over = await limits.begin('c', true); over; over = await limits.begin('c', true)) {
      over()
      pushes++
    }
    expect(pushes).toBe(300)
    now += 10_000
    expect(await limits.begin('c', true)).toBeDefined()
  })
})
