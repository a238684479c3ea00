import {describe, expect, test} from '@jest/globals'
import {base62Checksum, crc32, hasValidChecksum} from '../../../scan/checksum.js'
import {ruleTable} from '../../../scan/rules/table.js'
import {compilePattern, createScanner, MAX_MATCH} from '../../../scan/scanner.js'
import {sampleSecret, seededRandom} from '../../support/secret-sample.js'

const scanner = createScanner()
const rulesIn = (text: string) => scanner.scan(Buffer.from(text)).findings.map(({rule}) => rule)
const plain = createScanner({depth: 0})
const examples = ruleTable.flatMap((rule) => rule.examples.map((template) => [rule.id, template] as const))

describe('the table', () => {
  test('has more than 100 rules with distinct ids', () => {
    expect(new Set(ruleTable.map(({id}) => id)).size).toBe(ruleTable.length)
    expect(ruleTable.length).toBeGreaterThan(100)
    for (const {id} of ruleTable) expect(id).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/)
  })

  test.each(ruleTable.map((rule) => [rule.id, rule] as const))('%s keeps the contract', (_, rule) => {
    expect(rule.examples.length).toBeGreaterThan(0)
    expect(rule.keywords.length).toBeGreaterThan(0)
    for (const keyword of rule.keywords) expect(keyword).toMatch(/^[\x20-\x7e]{3,}$/)
    expect(() => compilePattern(rule.pattern, rule)).not.toThrow()
    const unbounded = /(?<!\\)[*+]|\{\d+,\}/.test(rule.pattern.replace(/\[(?:\\.|[^\]])*\]/g, 'C'))
    expect(unbounded).toBe(rule.run !== undefined)
    expect(rule.max ?? 256).toBeLessThan(MAX_MATCH)
  })

  test.each(examples)('%s finds %s', (id, template) => {
    const random = seededRandom(7)
    for (let round = 0; round < 5; round++) {
      const secret = sampleSecret(template, random)
      for (const text of [secret, `x ${secret} y`, `"${secret}"`, `k=${secret}\n`, `(${secret})`])
        expect({text, rules: plain.scan(Buffer.from(text)).findings.map(({rule}) => rule)}).toEqual({
          text,
          rules: expect.arrayContaining([id]),
        })
    }
  })

  test.each(examples)('%s: a blunt example in place of %s is none', (id, template) => {
    const blunt = template.replace(/<\w+:(\d+)>/g, (_, count: string) => 'x'.repeat(Number(count)))
    expect(rulesIn(blunt)).not.toContain(id)
  })
})

describe('checksums', () => {
  test('CRC-32 of the check string of the standard', () => expect(crc32('123456789')).toBe(0xcbf43926))

  test('a token proves itself, whatever its entropy', () => {
    const payload = 'a'.repeat(30)
    const token = payload + base62Checksum(payload)
    expect(hasValidChecksum(token)).toBe(true)
    expect(hasValidChecksum(`${token.slice(0, -1)}!`)).toBe(false)
    expect(rulesIn(`ghp_${token}`)).toEqual(['github-token'])
    expect(rulesIn(`ghp_${'a'.repeat(36)}`)).toEqual([])
  })

  test('a wrong checksum excuses nothing', () => {
    const token = sampleSecret('ghp_<crc:36>')
    expect(rulesIn(token)).toEqual(['github-token'])
    expect(rulesIn(token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A'))).toEqual(['github-token'])
  })
})

describe('shapes of text', () => {
  test.each([
    'const password = config.database.password',
    'private_key: ed25519.Ed25519PrivateKey',
    'tokens.py,sha256=lTQIzSVw8Mg9wv459-TjiOQe6wVziqaRlqX2_89rp54',
    'var _Info_GroupControllerGetCapabilitiesRequest2 = 1',
    'token: process.env.GITHUB_TOKEN',
    'password = "changeme-please-123"',
    'API_KEY=your-api-key-goes-here-1',
    'api_key: ${API_KEY_2024_PRODUCTION}',
    'secret: "{{ .Values.secretName1 }}"',
    'accessToken: string | undefined',
    'resetPasswordToken1(request, response2)',
    'tokens: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]',
    'token = tokenize("the quick brown fox 1")',
    'secretRef: ./path/to/some/file2.yaml',
    'X-Token: 550e8400-e29b-41d4-a716-446655440000',
    'password: 11111111111111111111',
    'https://user:password@example.com/',
    'https://user:${PASSWORD}@host/',
    'postgres://user:xxxxxxxx@host/db',
    'http://localhost:3000/@scope/pkg',
    'import x from "https://esm.sh/pkg@1.2.3"',
    'Authorization: Bearer <token>',
    'Authorization: Bearer your-token-here-please',
    '-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n',
    '-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----',
    'eyJhbGciOiJIUzI1NiJ9',
  ])('%j is not a secret', (text) => expect(rulesIn(text)).toEqual([]))
})
