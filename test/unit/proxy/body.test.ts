import {Readable} from 'node:stream'
import {brotliCompressSync, deflateRawSync, deflateSync, gzipSync} from 'node:zlib'
import {describe, expect, test} from '@jest/globals'
import {createScanner} from '../../../scan/scanner.js'
import {admitBody, type Body, type BodySource} from '../../../proxy/body.js'
import {Denial} from '../../../proxy/denial.js'
import type {RequestFacts} from '../../../proxy/facts.js'
import {CleanTexts, Inspection, placeholderId, type Detectors} from '../../../proxy/inspect.js'

const SECRET = 'real-value-of-a-credential-7a91'
const PLACEHOLDER = 'cage-ph-0011223344556677'
const strict = createScanner({
  exact: [
    {id: 'api', value: SECRET},
    {id: `${placeholderId}api`, value: PLACEHOLDER},
  ],
})
const own = createScanner({exact: [{id: 'api', value: SECRET}], inert: [PLACEHOLDER]})
const detectors = (over: Partial<Detectors> = {}): Detectors => ({
  strict,
  clean: new CleanTexts(),
  body: strict,
  auditBody: false,
  patterns: true,
  ...over,
})

function request(chunks: Iterable<Buffer | string>): BodySource {
  const source = Readable.from(
    (function* () {
      for (const chunk of chunks) yield Buffer.from(chunk)
    })(),
    {objectMode: false},
  )
  return Object.assign(source, {complete: false})
}

function facts(over: Partial<RequestFacts> = {}): RequestFacts {
  return {hasBody: true, contentEncoding: [], contentLength: undefined, ...over} as RequestFacts
}

async function read(body: Body): Promise<Buffer> {
  if (body.kind === 'none') return Buffer.alloc(0)
  if (body.kind === 'whole') return body.bytes
  const chunks: Buffer[] = []
  for await (const chunk of body.chunks) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof Denial) return error.reason
    throw error
  }
  return 'let through'
}

const admit = (
  chunks: Iterable<Buffer | string>,
  over: Partial<RequestFacts> = {},
  judge = new Inspection(detectors()),
) => admitBody(request(chunks), facts(over), judge)

describe('bodies', () => {
  test('pass unchanged when nothing is in them', async () => {
    expect(await read(await admit(['hello ', 'world']))).toEqual(Buffer.from('hello world'))
    expect((await admit([], {hasBody: false})).kind).toBe('none')
  })

  test('large ones are forwarded in slices, in order and complete', async () => {
    const bytes = Buffer.alloc(1_500_000)
    for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE(i, i)
    const chunks = Array.from({length: 60}, (_, i) => bytes.subarray(i * 25_000, (i + 1) * 25_000))
    const body = await admit(chunks, {contentLength: bytes.length})
    expect(body).toMatchObject({kind: 'stream', length: bytes.length})
    expect((await read(body)).equals(bytes)).toBe(true)
  })

  test.each([
    ['plain', SECRET],
    ['in base64', Buffer.from(`xy${SECRET}`).toString('base64')],
    ['in hex', Buffer.from(SECRET).toString('hex')],
    ['percent-encoded', encodeURIComponent(SECRET).replaceAll('-', '%2D')],
    ['in JSON escapes', SECRET.replaceAll('-', '\\u002d')],
  ])('a value that cage handed out is found %s', async (_name, text) => {
    expect(await reasonOf(admit([`{"a":"${text}"}`]))).toBe('secret_found')
  })

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
    ['br', brotliCompressSync],
  ])('and inside %s', async (coding, compress) => {
    const coded = compress(Buffer.from(`some text ${SECRET} more`))
    expect(await reasonOf(admit([coded], {contentEncoding: [coding]}))).toBe('secret_found')
    const clean = compress(Buffer.from('some text'))
    expect(await read(await admit([clean], {contentEncoding: [coding]}))).toEqual(clean)
  })

  test('a secret across the edge of two slices never leaves, not even its first half', async () => {
    const filler = Buffer.alloc(1_100_000, 'x ')
    const chunks = [
      filler,
      Buffer.from(SECRET.slice(0, 10)),
      Buffer.alloc(0),
      Buffer.from(SECRET.slice(10)),
      filler,
    ]
    const body = await admit(chunks)
    let left = Buffer.alloc(0)
    const reason = await reasonOf(
      (async () => {
        if (body.kind === 'stream') for await (const chunk of body.chunks) left = Buffer.concat([left, chunk])
      })(),
    )
    expect(reason).toBe('secret_found')
    expect(left.includes(SECRET.slice(0, 10))).toBe(false)
  })

  test.each([
    ['an unknown coding', ['zstd'], 'body_encoding'],
    ['stacked codings', ['gzip', 'br'], 'body_encoding'],
    ['a coding that does not hold', ['gzip'], 'body_encoding'],
  ])('%s is refused', async (_name, contentEncoding, reason) => {
    expect(await reasonOf(admit(['not coded'], {contentEncoding}))).toBe(reason)
  })

  test('a bomb is refused', async () => {
    const bomb = gzipSync(Buffer.alloc(20_000_000))
    expect(bomb.length).toBeLessThan(30_000)
    expect(await reasonOf(admit([bomb], {contentEncoding: ['gzip']}))).toBe('body_over_limit')
  })

  test('64 MB is the end, announced or not', async () => {
    expect(await reasonOf(admit(['x'], {contentLength: 64 * 1024 * 1024 + 1}))).toBe('body_over_limit')
    const piece = Buffer.alloc(1024 * 1024)
    const many = (function* () {
      for (let i = 0; i < 70; i++) yield piece
    })()
    const unread = {
      body: () => undefined,
      bodyStream: () => ({push: (chunk: Buffer) => chunk, end: () => Buffer.alloc(0)}),
    }
    const body = await admitBody(request(many), facts(), unread)
    expect(await reasonOf(read(body))).toBe('body_over_limit')
  })
})

describe('placeholders in bodies', () => {
  test('are inert on their own host, whatever shape they imitate', async () => {
    const judge = new Inspection(detectors({body: own}))
    expect((await read(await admit([`env: ${PLACEHOLDER}`], {}, judge))).toString()).toBe(
      `env: ${PLACEHOLDER}`,
    )
    expect(judge.recorded).toEqual([])
  })

  test.each([
    PLACEHOLDER,
    Buffer.from(PLACEHOLDER).toString('base64'),
    Buffer.from(PLACEHOLDER).toString('hex'),
  ])('are refused on any other: %s', async (text) => {
    expect(await reasonOf(admit([text]))).toBe('placeholder_unbound')
  })
})

describe('patterns', () => {
  const token = ['ghp', 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0xL3rU6'].join('_')
  const pattern = () => reasonOf(admit([`token ${token}`]))

  test('end a request, or are recorded where the grant says so', async () => {
    const refused = await pattern()
    const judge = new Inspection(detectors({auditBody: true}))
    const recorded = await reasonOf(admit([`token ${token}`], {}, judge))
    expect([refused, recorded]).toEqual(['secret_found', 'let through'])
    expect(judge.recorded).toEqual([
      {
        rule: expect.stringContaining('github'),
        place: 'body',
        sha256: expect.stringMatching(/^[0-9a-f]{16}$/),
      },
    ])
    expect(JSON.stringify(judge.recorded)).not.toContain(token)
  })

  test('any number of recorded ones is no cover for a real value', async () => {
    const many = Array.from({length: 1500}, (_, n) => `${token.slice(0, -5)}${String(n).padStart(5, '0')}`)
    const judge = () => new Inspection(detectors({auditBody: true}))
    expect(await reasonOf(admit([many.join('\n')], {}, judge()))).toBe('let through')
    // In one window with them, and in a later one.
    for (const gap of ['\n', '-'.repeat(600_000)]) {
      const text = [...many, gap, SECRET].join('\n')
      expect(await reasonOf(admit([text], {}, judge()))).toBe('secret_found')
      const stream = judge().bodyStream()
      expect(() => [stream.push(Buffer.from(text)), stream.end()]).toThrow('secret_found')
    }
  })

  test('in headers and addresses they are refused everywhere', () => {
    const judge = new Inspection(detectors({auditBody: true}))
    expect(() => judge.head({rawTarget: '/'}, [['x', token]])).toThrow('secret_found')
    expect(() => judge.head({rawTarget: `/?t=${token}`}, [])).toThrow('secret_found')
  })
})

describe('headers and addresses', () => {
  const judge = () => new Inspection(detectors())
  const twice = encodeURIComponent(encodeURIComponent(PLACEHOLDER.replaceAll('-', '%2d')))

  test('a value split over two headers is found', () => {
    expect(() =>
      judge().head({rawTarget: '/'}, [
        ['x-a', SECRET.slice(0, 9)],
        ['x-b', SECRET.slice(9)],
      ]),
    ).toThrow('secret_found')
  })

  test('a value in header names is found', () => {
    expect(() => judge().head({rawTarget: '/'}, [[SECRET, '1']])).toThrow('secret_found')
  })

  test.each([
    `/?x=${PLACEHOLDER}`,
    `/${PLACEHOLDER}/x`,
    `/?x=${twice}`,
    `/?x=${Buffer.from(PLACEHOLDER).toString('base64url')}`,
  ])('a placeholder in %s is refused', (rawTarget) => {
    expect(() => judge().head({rawTarget}, [])).toThrow('placeholder_unbound')
  })

  test('a record says whether it was the address or a header, also when both are long', () => {
    const place = (act: () => void) => {
      try {
        act()
      } catch (error) {
        return error instanceof Denial ? error.detail : error
      }
      return undefined
    }
    const long = `/${'a/'.repeat(2000)}`
    expect(place(() => judge().head({rawTarget: `${long}?x=${SECRET}`}, [['a', long]]))).toBe('url')
    expect(place(() => judge().head({rawTarget: long}, [['a', `${long} ${SECRET}`]]))).toBe('header')
    expect(place(() => judge().head({rawTarget: `${long}%20`}, [['a', SECRET]]))).toBe('header')
  })

  test('a header block that was clean is not looked at again, by the scanner that saw it', () => {
    let scans = 0
    const scan = (bytes: Buffer) => {
      scans++
      return strict.scan(bytes)
    }
    const same = detectors({strict: {scan}})
    const judge = (rawTarget: string, value: string) => () =>
      new Inspection(same).head({rawTarget}, [['user-agent', value]])
    judge('/a', 'x')()
    judge('/a', 'x')()
    expect(scans).toBe(1)
    judge('/b', 'x')()
    judge('/a', 'y')()
    expect(scans).toBe(3)
    // What was found once is found every time.
    expect(judge('/a', SECRET)).toThrow('secret_found')
    expect(judge('/a', SECRET)).toThrow('secret_found')
    expect(scans).toBe(5)
    expect(() =>
      new Inspection(detectors({strict: createScanner({exact: [{id: 'new', value: 'user-agent: x'}]})})).head(
        {rawTarget: '/a'},
        [['user-agent', 'x']],
      ),
    ).toThrow('secret_found')
  })

  test('only so many header blocks are remembered', () => {
    const clean = new CleanTexts()
    for (let index = 0; index < 300; index++) clean.add(`block ${index}`)
    clean.add('x'.repeat(5000))
    expect([clean.has('block 0'), clean.has('block 299'), clean.has('x'.repeat(5000))]).toEqual([
      false,
      true,
      false,
    ])
  })

  test('a scanner that fails or runs out of work refuses (OPEN-3)', () => {
    const broken = {
      scan: () => {
        throw new Error('boom')
      },
      scanWindow: () => [],
    }
    expect(() => new Inspection(detectors({strict: broken})).head({rawTarget: '/'}, [['a', 'b']])).toThrow(
      'scan_failed',
    )
    const result = {findings: [], truncated: false, overBudget: true, work: 1}
    const tired = {scan: () => result, scanWindow: () => []}
    expect(() => new Inspection(detectors({body: tired})).body(Buffer.from('x'))).toThrow('scan_budget')
  })
})
