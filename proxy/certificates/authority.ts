import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import {existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {CageError, messageOf} from '../../core/errors.js'
import {writeAtomically} from '../files.js'
import {authorityCertificate, commonName, type Issuer} from './certificate.js'
import {pem} from './der.js'

export interface Authority extends Issuer {
  /** the certificate, PEM */
  certificate: string
}

const FILE = 'authority.pem'

/**
 * The pod's own CA: made at the first start, the same after every restart of the sidecar, because agents read their
 * trust store once. A file that cannot be read is an error and never a reason for a new CA.
 */
export function openAuthority(stateDirectory: string, now: number): Authority {
  const path = join(stateDirectory, FILE)
  if (!existsSync(path)) writeAtomically(path, createAuthority(now), 0o600)
  try {
    return parseAuthority(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new CageError(`the pod's certificate authority in ${path} cannot be used: ${messageOf(cause)}`, {
      code: 'AUTHORITY_UNUSABLE',
      hints: ['Run `cage task stop` and `cage task start`: a new pod gets a new authority.'],
      cause,
    })
  }
}

/** Key and certificate in one text, so that a crash can never leave one without the other. */
function createAuthority(now: number): string {
  const {privateKey, publicKey} = generateKeyPairSync('ec', {namedCurve: 'prime256v1'})
  const name = commonName(`cage task ${randomBytes(4).toString('hex')}`)
  const certificate = authorityCertificate({name, privateKey, publicKey}, now)
  return privateKey.export({type: 'pkcs8', format: 'pem'}).toString() + pem('CERTIFICATE', certificate)
}

function parseAuthority(text: string): Authority {
  const split = text.indexOf('-----BEGIN CERTIFICATE-----')
  if (split < 0) throw new Error('no certificate in the file')
  const certificate = text.slice(split)
  const privateKey = createPrivateKey(text.slice(0, split))
  const x509 = new X509Certificate(certificate)
  if (!x509.checkPrivateKey(privateKey)) throw new Error('key and certificate do not belong together')
  const name = commonName(x509.subject.replace(/^CN=/, ''))
  return {certificate: pem('CERTIFICATE', x509.raw), name, privateKey, publicKey: createPublicKey(privateKey)}
}
