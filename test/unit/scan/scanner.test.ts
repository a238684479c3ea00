import {generateKeyPairSync, randomBytes} from 'node:crypto'
import {deflateSync, gzipSync} from 'node:zlib'
import {describe, expect, test} from '@jest/globals'
import type {CageError} from '../../../core/errors.js'
import {fingerprintsOf} from '../../../scan/exact.js'
import {ruleTable} from '../../../scan/rules/table.js'
import {createScanner, MAX_MATCH, workBudget} from '../../../scan/scanner.js'
import {createStreamScanner} from '../../../scan/stream.js'
import {sampleSecret, seededRandom} from '../../support/secret-sample.js'

const token = sampleSecret('ghp_<a62:36>')
const secret = sampleSecret('<a62:11>/+"<a62:20>')
const scanner = createScanner({exact: [{id: 'forge', value: secret}]})
const rulesIn = (bytes: string | Buffer, with_ = scanner) =>
  with_.scan(Buffer.from(bytes as string)).findings.map(({rule}) => rule)

const utf16be = (text: string) => Buffer.from(text, 'utf16le').swap16()
const base64 = (text: string) => Buffer.from(text).toString('base64')
const hex = (text: string) => Buffer.from(text).toString('hex')
const percent = (text: string) =>
  [...Buffer.from(text)].map((b) => `%${b.toString(16).padStart(2, '0')}`).join('')
const unicode = (text: string) =>
  Array.from(text)
    .map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('')

const encodings: [string, (text: string) => string | Buffer][] = [
  ['plain', (t) => t],
  ['upper-case neighbours', (t) => `XXXX${t} `],
  ['base64', base64],
  ['base64 behind one character', (t) => `A${base64(t)}`],
  ['base64 behind two characters', (t) => `AB${base64(t)}`],
  ['base64, second alignment', (t) => base64(`x${t}yyyyy`)],
  ['base64, third alignment', (t) => base64(`xx${t}yyyyy`)],
  ['base64url', (t) => Buffer.from(`xx>?${t}`).toString('base64url')],
  ['base64 in lines', (t) => base64(`some words before ${t} and after it`).replace(/(.{20})/g, '$1\n')],
  [
    'base64 in JSON lines',
    (t) => base64(`some words before ${t} and after it`).replace(/(.{20})/g, '$1\\r\\n'),
  ],
  ['base64 of base64', (t) => base64(base64(t))],
  ['hex', hex],
  ['HEX', (t) => hex(t).toUpperCase()],
  ['hex behind a digit', (t) => `a${hex(t)}`],
  ['hex of base64', (t) => hex(base64(t))],
  ['base64 of hex', (t) => base64(hex(t))],
  ['percent', percent],
  ['percent of percent', (t) => percent(percent(t))],
  ['one escaped character', (t) => percent(t.slice(0, 1)) + t.slice(1)],
  ['JSON unicode', unicode],
  ['JSON unicode in the middle', (t) => t.slice(0, 9) + unicode(t.slice(9, 10)) + t.slice(10)],
  [
    'JavaScript hex',
    (t) =>
      Array.from(t)
        .map((c) => `\\x${c.charCodeAt(0).toString(16)}`)
        .join(''),
  ],
  ['UTF-16 LE', (t) => Buffer.from(t, 'utf16le')],
  ['UTF-16 BE', utf16be],
  ['UTF-16 LE at an odd offset', (t) => Buffer.concat([Buffer.from('\n'), Buffer.from(t, 'utf16le')])],
  ['gzip', (t) => gzipSync(t)],
  ['gzip with a name in its header', (t) => withName(gzipSync(t), 'notes.txt')],
  ['zlib', (t) => deflateSync(`${'line\n'.repeat(100)}${t}`)],
  ['gzip in base64', (t) => gzipSync(t).toString('base64')],
  ['base64 in gzip', (t) => gzipSync(base64(`a${t}`))],
]

function withName(gzip: Buffer, name: string): Buffer {
  const head = Buffer.from(gzip.subarray(0, 10))
  head.writeUInt8(8, 3)
  return Buffer.concat([head, Buffer.from(`${name}\0`), gzip.subarray(10)])
}

describe('encodings', () => {
  test.each(encodings)('a token format is found in %s', (_, encode) => {
    const encoded = encode(token)
    expect(rulesIn(encoded)).toContain('github-token')
    expect(
      rulesIn(Buffer.concat([Buffer.from('{"a": "'), Buffer.from(encoded as string), Buffer.from('"}')])),
    ).toContain('github-token')
  })

  test.each(encodings)('an exact value is found in %s', (_, encode) => {
    expect(rulesIn(encode(secret))).toContain('exact:forge')
  })

  test('the forms of an exact value are found without decoding', () => {
    const shallow = createScanner({depth: 0, exact: [{id: 'forge', value: secret}]})
    for (const text of [
      Array.from(secret).reverse().join(''),
      JSON.stringify({a: secret}),
      JSON.stringify(JSON.stringify({a: secret})),
      encodeURIComponent(secret),
      new URLSearchParams({a: secret}).toString(),
      hex(secret),
      base64(`x${secret}`),
    ])
      expect(rulesIn(text, shallow)).toContain('exact:forge')
  })

  test('findings name rule, place and way, never the value', () => {
    const text = `${' '.repeat(100)}${base64(`:: ${token} ::`)}`
    const {findings} = scanner.scan(Buffer.from(text))
    expect(findings[0]).toEqual({
      rule: 'github-token',
      kind: 'format',
      offset: 100,
      length: 62,
      via: ['base64'],
    })
    expect(JSON.stringify(findings)).not.toContain(token.slice(4, 12))
  })
})

describe('exact values', () => {
  test('fingerprints find the same without knowing the value', () => {
    const prints = fingerprintsOf([{id: 'forge', value: secret}])
    expect(JSON.stringify(prints)).not.toContain(secret)
    const blind = createScanner({fingerprints: JSON.parse(JSON.stringify(prints)) as typeof prints})
    for (const [, encode] of encodings) expect(rulesIn(encode(secret), blind)).toContain('exact:forge')
    expect(rulesIn(secret.slice(1), blind)).not.toContain('exact:forge')
  })

  test('a long value is found by any of its pieces', () => {
    const long = sampleSecret('<b64:2000>')
    const one = createScanner({exact: [{id: 'key', value: long}]})
    expect(rulesIn(long, one)).toContain('exact:key')
    expect(rulesIn(long.slice(500, 800), one)).toContain('exact:key')
    expect(rulesIn(long.slice(-100), one)).toContain('exact:key')
    expect(rulesIn(hex(long.slice(500, 800)), one)).toContain('exact:key')
  })

  test.each(['pkcs1', 'pkcs8'] as const)(
    'any line of a private key (%s) is found, however it is written',
    (type) => {
      const {privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048})
      const pem = privateKey.export({type, format: 'pem'}).toString()
      const blind = createScanner({fingerprints: fingerprintsOf([{id: 'app', value: pem}])})
      const lines = pem.split('\n').filter((line) => line.length >= 32 && !line.startsWith('--'))
      expect(lines.length).toBeGreaterThan(20)
      for (const line of lines) {
        expect(rulesIn(`const part = '${line}'`, blind)).toContain('exact:app')
        expect(rulesIn(base64(`:${line}`), blind)).toContain('exact:app')
      }
      expect(rulesIn(JSON.stringify({key: pem}), blind)).toContain('exact:app')
      const inside = fingerprintsOf([
        {id: 'account', value: JSON.stringify({type: 'service_account', key: pem})},
      ])
      expect(rulesIn(lines[7] ?? '', createScanner({fingerprints: inside}))).toContain('exact:account')
      const another = generateKeyPairSync('rsa', {modulusLength: 2048}).privateKey
      expect(rulesIn(another.export({type, format: 'pem'}).toString(), blind)).not.toContain('exact:app')
    },
  )

  test('what all keys of one kind begin with is not taken for one of them', () => {
    const same = `b3BlbnNzaC1rZXktdjE${'A'.repeat(51)}`
    const pem = `-----BEGIN OPENSSH PRIVATE KEY-----\n${same}\n${sampleSecret('<b64:70>')}\n-----END OPENSSH PRIVATE KEY-----\n`
    const one = createScanner({exact: [{id: 'key', value: pem}]})
    expect(rulesIn(same, one)).toEqual([])
    expect(rulesIn(pem.split('\n')[2] ?? '', one)).toContain('exact:key')
  })

  test('a long value is found in small and in capital letters, a short one is not', () => {
    const folding = createScanner({
      exact: [
        {id: 'long', value: 'Aq7-Xr2-Mb9-Zt4-K'},
        {id: 'word', value: 'Postgres'},
      ],
    })
    expect(rulesIn('aq7-xr2-mb9-zt4-k AQ7-XR2-MB9-ZT4-K', folding)).toContain('exact:long')
    expect(rulesIn('x-aq7-xr2-mb9-zt4-k: 1', folding)).toContain('exact:long')
    expect(rulesIn('postgres POSTGRES', folding)).toEqual([])
    expect(rulesIn('Postgres', folding)).toContain('exact:word')
  })

  test('a value that would match by chance is refused by name, not shown', () => {
    try {
      createScanner({exact: [{id: 'pin', value: 'ab1-x'}]})
      throw new Error('accepted')
    } catch (error) {
      expect((error as CageError).code).toBe('EXACT_TOO_SHORT')
      expect((error as CageError).message).not.toContain('ab1-x')
    }
  })
})

describe('inert placeholders', () => {
  const placeholder = sampleSecret('sk-ant-oat01-<b64u:93>AA')
  const own = createScanner({inert: [placeholder], exact: [{id: 'forge', value: secret}]})
  test('are no finding, alone, in context and encoded', () => {
    expect(rulesIn(placeholder)).toEqual(['anthropic-key'])
    for (const text of [
      placeholder,
      `ANTHROPIC_AUTH_TOKEN=${placeholder}`,
      `Authorization: Bearer ${placeholder}`,
      base64(placeholder),
    ])
      expect(rulesIn(text, own)).toEqual([])
  })
  test('hide nothing that stands beside them', () => {
    const other = sampleSecret('sk-ant-api03-<b64u:93>AA', seededRandom(3))
    expect(rulesIn(`${placeholder}${other}`, own)).toContain('anthropic-key')
    expect(rulesIn(`${placeholder}${token}`, own)).toContain('github-token')
    expect(rulesIn(`${placeholder}${secret}`, own)).toContain('exact:forge')
  })
})

describe('long bodies', () => {
  const noise = (bytes: number) =>
    Buffer.from(
      sampleSecret('<az:40> ')
        .repeat(Math.ceil(bytes / 41))
        .slice(0, bytes),
    )
  test('a secret is found wherever a window ends', () => {
    const body = noise(280_000)
    for (let at = 262_144 - MAX_MATCH - 50; at < 262_144 + 50; at += 2017) {
      const copy = Buffer.from(body)
      copy.write(` ${token} `, at, 'latin1')
      const {findings} = scanner.scan(copy)
      expect(findings).toEqual([{rule: 'github-token', kind: 'format', offset: at + 1, length: 40, via: []}])
    }
  })

  test('NUL bytes and binary data hide nothing', () => {
    const random = randomBytes(50_000)
    expect(
      rulesIn(Buffer.concat([random, Buffer.from([0]), Buffer.from(token), Buffer.from([0]), random])),
    ).toContain('github-token')
  })
})

describe('streams', () => {
  const body = Buffer.from(`${'line of text\n'.repeat(5000)}${token}${'\nline of text'.repeat(5000)}`)
  const split = (size: number) => {
    const stream = createStreamScanner(scanner, {slice: 16_384})
    const out: Buffer[] = []
    for (let at = 0; at < body.length; at += size) {
      const step = stream.push(body.subarray(at, at + size))
      out.push(step.release)
      if (step.stopped) return {sent: Buffer.concat(out), findings: step.findings}
    }
    const step = stream.end()
    return {sent: Buffer.concat([...out, step.release]), findings: step.findings}
  }

  test.each([1000, 16_384, 600_000])('nothing of the secret leaves, chunks of %d', (size) => {
    const {sent, findings} = split(size)
    expect(findings.map(({rule, offset}) => [rule, offset])).toEqual([['github-token', body.indexOf(token)]])
    expect(sent.length).toBeLessThanOrEqual(body.indexOf(token))
    expect(body.subarray(0, sent.length).equals(sent)).toBe(true)
  })

  test('what is clean passes whole and unchanged', () => {
    const clean = randomBytes(300_001)
    const stream = createStreamScanner(createScanner())
    const out = [
      stream.push(clean.subarray(0, 7)).release,
      stream.push(clean.subarray(7)).release,
      stream.end().release,
    ]
    expect(Buffer.concat(out).equals(clean)).toBe(true)
  })

  test('findings that do not stop are reported once', () => {
    const stream = createStreamScanner(scanner, {slice: 8192, stops: () => false})
    let sent = 0
    const found: number[] = []
    for (let at = 0; at < body.length; at += 5000) {
      const step = stream.push(body.subarray(at, at + 5000))
      sent += step.release.length
      found.push(...step.findings.map(({offset}) => offset))
    }
    sent += stream.end().release.length
    expect(found).toEqual([body.indexOf(token)])
    expect(sent).toBe(body.length)
  })

  test('after a stop nothing more is released', () => {
    const stream = createStreamScanner(scanner, {slice: 1})
    expect(stream.push(Buffer.from(token)).stopped).toBe(true)
    expect(stream.push(Buffer.alloc(100_000)).release.length).toBe(0)
    expect(stream.end().release.length).toBe(0)
  })
})

describe('the work budget bounds hostile bodies', () => {
  const size = 60_000
  const fill = (text: string) =>
    Buffer.from(text.repeat(Math.ceil(size / text.length)).slice(0, size), 'latin1')
  const soup = ruleTable.flatMap(({keywords}) => keywords).join('')
  const bodies: [string, Buffer][] = [
    ['keyword soup', fill(soup)],
    [
      'every keyword with a run behind it',
      fill(ruleTable.flatMap(({keywords}) => keywords.map((k) => k + 'a'.repeat(200))).join(' ')),
    ],
    ['eyJ without end', fill('eyJ')],
    ['eyJ runs', fill(`${'eyJ'.repeat(300)}.`)],
    ['password', fill('password')],
    ['password=', fill('password=')],
    ['token = a', fill(`token = ${'a1'.repeat(80)}`)],
    ['://a:', fill('://a:')],
    ['http://a:b', fill(`http://${'a'.repeat(60)}:${'b'.repeat(120)}`)],
    ['begin', fill('-----BEGIN PRIVATE KEY-----\n\n\n\n')],
    ['sk-', fill('sk-')],
    ['base64', fill(Buffer.from('secret-'.repeat(90)).toString('base64'))],
    [
      'base64 of base64',
      fill(Buffer.from(Buffer.from('ghp_'.repeat(900)).toString('base64')).toString('base64')),
    ],
    ['percent', fill('%67%68%70%5f')],
    ['percent of percent', fill('%25%36%37')],
    ['unicode', fill('\\u0067\\u0068')],
    ['UTF-16', fill('g\0h\0p\0_\0')],
    ['zeros', Buffer.alloc(size)],
    ['hex', fill('6768705f')],
    ['AKIA', fill('AKIAAAAAAAAAAAAAAAAA')],
    ['headers of gzip', fill(gzipSync('').subarray(0, 10).toString('latin1'))],
    ['a bomb', gzipSync(Buffer.alloc(50_000_000, 'ghp_'))],
    ['bombs', Buffer.concat(Array<Buffer>(60).fill(deflateSync(Buffer.alloc(1_000_000, 'key='))))],
  ]
  test.each(bodies)('%s', (_, body) => {
    const {work, overBudget} = scanner.scan(body)
    // One attempt may overdraw the budget by the cost of the longest rule; nothing runs after that.
    const most = workBudget(body.length) + MAX_MATCH
    expect(work).toBeLessThanOrEqual(most)
    if (!overBudget) {
      const twice = scanner.scan(Buffer.concat([body, body]))
      expect(twice.work).toBeLessThanOrEqual(2.2 * work + 20_000)
    }
  })

  test('running out is said, in a stream too', () => {
    const hostile = fill('sk_live_')
    expect(scanner.scan(hostile).overBudget).toBe(true)
    const stream = createStreamScanner(scanner, {slice: 32_768})
    const step = stream.push(hostile)
    expect(step).toMatchObject({stopped: true, overBudget: true})
    expect(step.release.length).toBe(0)
  })

  test('ordinary code and prose stay far below it', () => {
    const code = Buffer.from(
      'const token = await client.getToken(request.headers.authorization) // password reset\n'.repeat(3000),
    )
    const {work, overBudget, findings} = scanner.scan(code)
    expect({overBudget, findings}).toEqual({overBudget: false, findings: []})
    expect(work).toBeLessThan(workBudget(code.length) / 2)
  })
})

describe('many findings', () => {
  const tokens = (count: number) => Array.from({length: count}, () => sampleSecret('ghp_<a62:36>')).join('\n')

  test('hide none of another kind, and none in a later window', () => {
    const far = `${tokens(1500)}\n${' '.repeat(600_000)}\n`
    const kinds = new Map([
      [`${far}${secret}`, 'exact:forge'],
      [`${far}AKIAZ7QK3NJXW5TDLHVB`, 'aws'],
      [`${'password = "hT7kQ2xV9mLp4z"\n'.repeat(1500)}${token}`, 'github'],
    ])
    for (const [text, rule] of kinds) {
      expect(rulesIn(text)).toContainEqual(expect.stringContaining(rule))
    }
  })

  test('more than are listed are said to be there', () => {
    expect(scanner.scan(Buffer.from(tokens(1000)))).toMatchObject({truncated: false, overBudget: false})
    expect(scanner.scan(Buffer.from(tokens(1001)))).toMatchObject({truncated: true, overBudget: false})
    const generic = 'password = "hT7kQ2xV9mLp4z"\n'.repeat(1500)
    expect(scanner.scan(Buffer.from(generic))).toMatchObject({truncated: false, overBudget: false})
  })
})
