import {generateKeyPairSync} from 'node:crypto'
import {describe, expect, test} from '@jest/globals'
import type {CageError} from '../../../core/errors.js'
import type {GrantHead, SignedPart} from '../../../policy/grant.js'
import {
  generateGrantKey,
  newHandle,
  publicGrantKey,
  sha256Hex,
  signGrant,
  signingBytes,
  verifyPart,
} from '../../../policy/sign.js'
import {egressGrant, gitGrant} from '../../support/grants.js'

const key = generateGrantKey()
const handle = newHandle()
const signed = () =>
  signGrant(
    {project: 'shop-0a1b2c3d', task: 'fix', revision: 1, handle, egress: egressGrant(), git: gitGrant()},
    key.privateKeyPem,
  )

function codeOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    return (error as CageError).code
  }
  return 'accepted'
}

describe('signGrant and verifyPart', () => {
  test('each side gets its own part back and only its own', () => {
    const {egress, git} = signed()
    expect(verifyPart(egress, key.publicKeyDer, 'egress')).toEqual(egressGrant())
    expect(verifyPart(git, key.publicKeyDer, 'git')).toEqual(gitGrant())
    expect(codeOf(() => verifyPart(egress, key.publicKeyDer, 'git'))).toBe('GRANT_SIGNATURE')
    expect(codeOf(() => verifyPart(git, key.publicKeyDer, 'egress'))).toBe('GRANT_SIGNATURE')
    expect(egress.head).toEqual(git.head)
    expect(egress.head.handleSha256).toBe(sha256Hex(handle))
    expect(JSON.stringify([egress, git])).not.toContain(handle)
  })

  test('a part survives JSON', () => {
    const part = JSON.parse(JSON.stringify(signed().egress)) as SignedPart
    expect(verifyPart(part, publicGrantKey(key.privateKeyPem), 'egress').task).toBe('fix')
  })

  const heads: [string, Partial<GrantHead>][] = [
    ['project', {project: 'other-0a1b2c3d'}],
    ['task', {task: 'other'}],
    ['revision', {revision: 2}],
    ['handle', {handleSha256: sha256Hex('x')}],
    ['egress hash', {egressSha256: sha256Hex('x')}],
    ['git hash', {gitSha256: sha256Hex('x')}],
  ]
  test.each(heads)('a changed %s in the head is refused', (_, change) => {
    const {egress} = signed()
    const part = {...egress, head: {...egress.head, ...change}}
    expect(codeOf(() => verifyPart(part, key.publicKeyDer, 'egress'))).toBe('GRANT_SIGNATURE')
  })

  test('a changed body is refused, one byte of white space included', () => {
    const {egress} = signed()
    for (const body of [`${egress.body} `, egress.body.replace('"rules":[]', '"rules":[{}]'), '{}'])
      expect(codeOf(() => verifyPart({...egress, body}, key.publicKeyDer, 'egress'))).toBe('GRANT_SIGNATURE')
  })

  test('another key, a key of another kind and rubbish for a key are refused', () => {
    const {egress} = signed()
    const other = generateGrantKey().publicKeyDer
    const curve = generateKeyPairSync('ec', {namedCurve: 'P-256'}).publicKey
    for (const der of [other, curve.export({type: 'spki', format: 'der'}), Buffer.alloc(0)])
      expect(codeOf(() => verifyPart(egress, der, 'egress'))).toBe('GRANT_SIGNATURE')
  })

  test('what does not look like a signed part is refused', () => {
    const {egress} = signed()
    const values: unknown[] = [
      null,
      'x',
      [],
      {},
      {...egress, extra: 1},
      {...egress, head: {...egress.head, version: 2}},
      {...egress, head: {...egress.head, note: ''}},
      {...egress, signature: ''},
    ]
    for (const value of values)
      expect(codeOf(() => verifyPart(value, key.publicKeyDer, 'egress'))).toBe('GRANT_SHAPE')
  })

  test('a correctly signed body of an unknown schema is refused', () => {
    const wrong = (over: object) => {
      const egress = {...egressGrant(), ...over}
      return codeOf(() =>
        signGrant(
          {project: egress.project, task: 'fix', revision: 1, handle, egress, git: gitGrant()},
          key.privateKeyPem,
        ),
      )
    }
    expect(wrong({})).toBe('accepted')
    expect(wrong({newField: true})).toBe('GRANT_SHAPE')
    expect(wrong({version: 2})).toBe('GRANT_SHAPE')
    expect(wrong({rules: [{id: 'x', effect: 'allow', host: 'a', port: 0, scheme: 'https'}]})).toBe(
      'GRANT_SHAPE',
    )
    expect(wrong({rules: [{id: 'x', effect: 'maybe', host: 'a', port: 1, scheme: 'https'}]})).toBe(
      'GRANT_SHAPE',
    )
    expect(wrong({detectors: {}})).toBe('GRANT_SHAPE')
    expect(wrong({project: 'other'})).toBe('GRANT_MISMATCH')
  })

  test('signing bytes do not depend on the order of fields', () => {
    const {head} = signed().egress
    const reversed = Object.fromEntries(Object.entries(head).reverse()) as unknown as GrantHead
    expect(signingBytes(reversed)).toEqual(signingBytes(head))
  })

  test('handles are long, distinct and carry the prefix', () => {
    expect(handle).toMatch(/^cgt_[0-9a-f]{64}$/)
    expect(newHandle()).not.toBe(handle)
  })
})
