import {createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate} from 'node:crypto'
import {authorityCertificate, commonName, leafCertificate, type Issuer} from './certificate.js'
import {pem} from './der.js'

export interface Authority extends Issuer {
  /** the certificate, PEM */
  certificate: string
}

/** A new CA: key and certificate in one PEM text, so that a crash can never leave one without the other. */
export function createAuthority(subject: string, now: number): string {
  const {privateKey, publicKey} = generateKeyPairSync('ec', {namedCurve: 'prime256v1'})
  const name = commonName(subject)
  const certificate = authorityCertificate({name, privateKey, publicKey}, now)
  return privateKey.export({type: 'pkcs8', format: 'pem'}).toString() + pem('CERTIFICATE', certificate)
}

/** Throws when the text is not a key and its certificate. */
export function parseAuthority(text: string): Authority {
  const split = text.indexOf('-----BEGIN CERTIFICATE-----')
  if (split < 0) throw new Error('no certificate in the file')
  const certificate = text.slice(split)
  const privateKey = createPrivateKey(text.slice(0, split))
  const x509 = new X509Certificate(certificate)
  if (!x509.checkPrivateKey(privateKey)) throw new Error('key and certificate do not belong together')
  const name = commonName(x509.subject.replace(/^CN=/, ''))
  return {certificate: pem('CERTIFICATE', x509.raw), name, privateKey, publicKey: createPublicKey(privateKey)}
}

/** A server's key and certificate, PEM, signed by the authority. */
export function issueServer(
  authority: Authority,
  host: string,
  now: number,
  days: number,
): {key: string; certificate: string} {
  const {privateKey, publicKey} = generateKeyPairSync('ec', {namedCurve: 'prime256v1'})
  return {
    key: privateKey.export({type: 'pkcs8', format: 'pem'}).toString(),
    certificate: pem('CERTIFICATE', leafCertificate(authority, host, publicKey, now, days)),
  }
}
