import {describe, expect, test} from '@jest/globals'
import {isSignedWith, secretsIn, sign, signingKeys, type Unsigned} from '../../../proxy/sigv4.js'

/** Examples that AWS publishes with its description of the algorithm. */
const keys = {keyId: 'AKIDEXAMPLE', secret: ['wJalrXUtnFEMI/K7MDENG', 'bPxRfiCYEXAMPLEKEY'].join('+')}
const s3Keys = {keyId: 'AKIAIOSFODNN7EXAMPLE', secret: keys.secret.replace('+', '/')}
const empty = Buffer.alloc(0)
const get = (over: Partial<Unsigned>): Unsigned => ({
  method: 'GET',
  path: '/',
  query: '',
  headers: [],
  host: 'example.amazonaws.com',
  body: empty,
  ...over,
})
const signatureOf = (signed: {headers: [string, string][]}) =>
  /Signature=(\w+)$/.exec(signed.headers.at(-1)?.[1] ?? '')?.[1]

describe('AWS Signature Version 4', () => {
  const moment = new Date('2015-08-30T12:36:00Z')
  const service = {region: 'us-east-1', service: 'service'}

  test.each<[string, Unsigned, string]>([
    ['get-vanilla', get({}), '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
    [
      'get-vanilla-query-order-key-case',
      get({query: 'Param2=value2&Param1=value1'}),
      'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
    ],
  ])('%s', (_name, request, signature) => {
    expect(signatureOf(sign(request, service, keys, moment))).toBe(signature)
  })

  test('a request of IAM, with a content type', () => {
    const request = get({
      query: 'Action=ListUsers&Version=2010-05-08',
      host: 'iam.amazonaws.com',
      headers: [
        ['Content-Type', 'application/x-www-form-urlencoded; charset=utf-8'],
        ['User-Agent', 'not signed'],
      ],
    })
    const signed = sign(request, {region: 'us-east-1', service: 'iam'}, keys, moment)
    expect(signatureOf(signed)).toBe('5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7')
    expect(signed.headers.at(-1)?.[1]).toContain('SignedHeaders=content-type;host;x-amz-date')
  })

  test('a request of S3, whose body is part of its headers', () => {
    const request = get({query: 'lifecycle', host: 'examplebucket.s3.amazonaws.com'})
    const signed = sign(
      request,
      {region: 'us-east-1', service: 's3'},
      s3Keys,
      new Date('2013-05-24T00:00:00Z'),
    )
    expect(signatureOf(signed)).toBe('fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543')
  })

  test('what is signed is what is sent', () => {
    const request = get({path: '/a%20b/(c)', query: 'z=1&a=x+y&a=%7E&b'})
    const signed = sign(request, {region: 'r', service: 's3'}, {...keys, token: 'session'}, moment)
    expect([signed.path, signed.query]).toEqual(['/a%20b/%28c%29', 'a=x%20y&a=~&b=&z=1'])
    expect(signed.headers.map(([name]) => name)).toEqual([
      'x-amz-date',
      'x-amz-content-sha256',
      'x-amz-security-token',
      'authorization',
    ])
    expect(() => sign(get({path: '/%zz'}), service, keys, moment)).toThrow('path_encoding')
  })

  test('only a signature with exactly the placeholder is taken for one', () => {
    expect(isSignedWith('AWS4-HMAC-SHA256 Credential=ph/20150830/r/s/aws4_request, …', 'ph')).toBe(true)
    for (const other of ['AWS4-HMAC-SHA256 Credential=phx/1', 'AWS4 ph', 'Bearer ph', 'ph'])
      expect(isSignedWith(other, 'ph')).toBe(false)
  })

  test('the secret parts of its keys are known as such', () => {
    const binding = {inject: {kind: 'sigv4', region: 'r', service: 's'}} as const
    expect(secretsIn(binding, 'id:secret:token')).toEqual(['secret', 'token'])
    expect(signingKeys('id:secret')).toEqual({keyId: 'id', secret: 'secret'})
    for (const bad of ['', 'id', ':secret', 'a:b:c:d']) expect(signingKeys(bad)).toBeUndefined()
  })
})
