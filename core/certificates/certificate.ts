import {createHash, randomBytes, sign, type KeyObject} from 'node:crypto'
import {
  bitString,
  bool,
  element,
  explicit,
  implicit,
  objectId,
  octetString,
  sequence,
  set,
  time,
  unsigned,
  utf8String,
} from './der.js'

const DAY = 24 * 60 * 60 * 1000
const ecdsaWithSha256 = sequence(objectId('1.2.840.10045.4.3.2'))

export interface Issuer {
  /** DER of the issuer's name */
  name: Buffer
  publicKey: KeyObject
  privateKey: KeyObject
}

export function commonName(text: string): Buffer {
  // The field holds 64 characters; longer host names stand in the alternative name only.
  return sequence(set(sequence(objectId('2.5.4.3'), utf8String(text.slice(0, 64)))))
}

/** SHA-1 of the public key bits: RFC 5280 method 1, an identifier and not a safeguard. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const jwk = publicKey.export({format: 'jwk'})
  const point = Buffer.concat([
    Buffer.from([4]),
    Buffer.from(jwk.x ?? '', 'base64url'),
    Buffer.from(jwk.y ?? '', 'base64url'),
  ])
  return createHash('sha1').update(point).digest()
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(objectId(id), ...(critical ? [bool(true)] : []), octetString(value))
}

interface Fields {
  subject: Buffer
  publicKey: KeyObject
  notBefore: number
  notAfter: number
  extensions: Buffer[]
}

function signed(issuer: Issuer, fields: Fields): Buffer {
  const serial = randomBytes(16)
  serial.writeUInt8((serial.readUInt8(0) & 0x7f) | 0x40)
  const body = sequence(
    explicit(0, unsigned(2)),
    unsigned(serial),
    ecdsaWithSha256,
    issuer.name,
    sequence(time(fields.notBefore), time(fields.notAfter)),
    fields.subject,
    fields.publicKey.export({type: 'spki', format: 'der'}),
    explicit(
      3,
      sequence(
        ...fields.extensions,
        extension('2.5.29.14', false, octetString(keyIdentifier(fields.publicKey))),
        extension('2.5.29.35', false, sequence(implicit(0, keyIdentifier(issuer.publicKey)))),
      ),
    ),
  )
  return sequence(body, ecdsaWithSha256, bitString(sign('sha256', body, issuer.privateKey)))
}

/** A self-signed P-256 CA that may sign leaves and nothing deeper; DER. Lives as long as any task: ten years. */
export function authorityCertificate(issuer: Issuer, now: number): Buffer {
  return signed(issuer, {
    subject: issuer.name,
    publicKey: issuer.publicKey,
    notBefore: now - DAY,
    notAfter: now + 3650 * DAY,
    extensions: [
      extension('2.5.29.19', true, sequence(bool(true), unsigned(0))),
      // keyCertSign, cRLSign
      extension('2.5.29.15', true, bitString(Buffer.from([0x06]), 1)),
    ],
  })
}

/** A server certificate for one DNS name, backdated one day for clocks that lag; DER. */
export function leafCertificate(
  issuer: Issuer,
  host: string,
  publicKey: KeyObject,
  now: number,
  days = 7,
): Buffer {
  return signed(issuer, {
    subject: commonName(host),
    publicKey,
    notBefore: now - DAY,
    notAfter: now + days * DAY,
    extensions: [
      extension('2.5.29.19', true, sequence()),
      // digitalSignature
      extension('2.5.29.15', true, bitString(Buffer.from([0x80]), 7)),
      extension('2.5.29.37', false, sequence(objectId('1.3.6.1.5.5.7.3.1'))),
      extension('2.5.29.17', false, sequence(element(0x82, Buffer.from(host, 'ascii')))),
    ],
  })
}
