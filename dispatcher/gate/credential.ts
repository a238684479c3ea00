/** What a credential of an upstream is asked for: one request of git by one task, or by the project itself. */
export interface CredentialUse {
  /** absent = for the dispatcher's own copy */
  task?: string
  writes: boolean
}

/**
 * Proves to an upstream who asks.
 * - The value MUST stay in this process: no file, argument, environment, child or log.
 */
export interface Credential {
  /** value of the Authorization header */
  authorization(use: CredentialUse): Promise<string | undefined> | string | undefined
  /** The upstream answered 401. @returns whether asking again, with what `authorization` gives now, may help */
  refused(challenge: string): boolean
  /** texts that nothing which leaves this process may contain */
  secrets(): readonly string[]
}

/** A token, or `user:password`. Basic, which every git server knows, until one asks for Bearer alone. */
export class TokenCredential implements Credential {
  readonly #user: string
  readonly #password: string
  #scheme: 'basic' | 'bearer' = 'basic'

  constructor(value: string) {
    const colon = value.indexOf(':')
    // Servers that take a token as the password take any user; this is the one that GitHub documents.
    this.#user = colon > 0 ? value.slice(0, colon) : 'x-access-token'
    this.#password = value.slice(colon > 0 ? colon + 1 : 0)
  }

  authorization(): string {
    return this.#scheme === 'basic' ? `Basic ${this.#basic()}` : `Bearer ${this.#password}`
  }

  refused(challenge: string): boolean {
    const wantsBearer = /\bbearer\b/i.test(challenge) && !/\bbasic\b/i.test(challenge)
    if (!wantsBearer || this.#scheme === 'bearer') return false
    this.#scheme = 'bearer'
    return true
  }

  secrets(): readonly string[] {
    return [this.#password, this.#basic()]
  }

  #basic(): string {
    return Buffer.from(`${this.#user}:${this.#password}`).toString('base64')
  }
}
