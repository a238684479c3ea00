import {generateKeyPairSync, randomBytes} from 'node:crypto'
import {createSecureContext, type SecureContext} from 'node:tls'
import type {Authority} from '../../core/certificates/authority.js'
import {leafCertificate} from '../../core/certificates/certificate.js'
import {pem} from '../../core/certificates/der.js'

/** Host names are chosen by the agent, so the number of live leaves has a ceiling. */
const MAX_LEAVES = 1024
const RENEW_AFTER = 24 * 60 * 60 * 1000

interface Leaf {
  context: SecureContext
  mintedAt: number
}

/** TLS contexts per host name, signed by the pod's CA, least recently used first out. All share one key and its tickets. */
export class Leaves {
  readonly #authority: Authority
  readonly #now: () => number
  readonly #most: number
  readonly #key = generateKeyPairSync('ec', {namedCurve: 'prime256v1'})
  readonly #keyPem = this.#key.privateKey.export({type: 'pkcs8', format: 'pem'}).toString()
  readonly #ticketKeys = randomBytes(48)
  readonly #leaves = new Map<string, Leaf>()

  constructor(authority: Authority, now: () => number = Date.now, most = MAX_LEAVES) {
    this.#authority = authority
    this.#now = now
    this.#most = most
  }

  /** `host` is a canonical DNS name. */
  contextFor(host: string): SecureContext {
    const now = this.#now()
    const known = this.#leaves.get(host)
    this.#leaves.delete(host)
    const leaf = known && Math.abs(now - known.mintedAt) < RENEW_AFTER ? known : this.#mint(host, now)
    this.#leaves.set(host, leaf)
    if (this.#leaves.size > this.#most) this.#leaves.delete(this.#leaves.keys().next().value ?? '')
    return leaf.context
  }

  /** PEM of a fresh leaf. */
  certificateFor(host: string): string {
    return pem('CERTIFICATE', leafCertificate(this.#authority, host, this.#key.publicKey, this.#now()))
  }

  get size(): number {
    return this.#leaves.size
  }

  #mint(host: string, now: number): Leaf {
    const context = createSecureContext({
      cert: this.certificateFor(host),
      key: this.#keyPem,
      minVersion: 'TLSv1.2',
      ticketKeys: this.#ticketKeys,
    })
    return {context, mintedAt: now}
  }
}
