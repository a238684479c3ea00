import {
  bmpString,
  explicit,
  objectId,
  octetString,
  sequence,
  set,
  unsigned,
} from '../../core/certificates/der.js'

const data = '1.2.840.113549.1.7.1'
const certificateBag = '1.2.840.113549.1.12.10.1.3'
const x509Certificate = '1.2.840.113549.1.9.22.1'
const friendlyName = '1.2.840.113549.1.9.20'
/** Oracle's mark of a trusted certificate; without it Java sees an empty store. */
const trustedKeyUsage = '2.16.840.1.113894.746875.1.1'
const anyUsage = '2.5.29.37.0'

/**
 * A PKCS#12 trust store (RFC 7292) of public certificates for Java: neither encrypted nor authenticated, as the
 * JDK's own `cacerts` is since 18. Java opens it with any password.
 */
export function trustStore(certificates: {alias: string; der: Buffer}[]): Buffer {
  const bags = sequence(...certificates.map(({alias, der}) => bag(alias, der)))
  const safe = sequence(contentInfo(bags))
  return sequence(unsigned(3), contentInfo(safe))
}

function contentInfo(content: Buffer): Buffer {
  return sequence(objectId(data), explicit(0, octetString(content)))
}

function bag(alias: string, der: Buffer): Buffer {
  return sequence(
    objectId(certificateBag),
    explicit(0, sequence(objectId(x509Certificate), explicit(0, octetString(der)))),
    set(
      sequence(objectId(friendlyName), set(bmpString(alias))),
      sequence(objectId(trustedKeyUsage), set(objectId(anyUsage))),
    ),
  )
}
