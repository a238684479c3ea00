import type {GithubIdentity} from '../github/identity.js'
import type {Credential, CredentialUse} from './credential.js'

/** Git at github.com: the token of the task, for this repository alone. */
export class GithubCredential implements Credential {
  readonly #identity: GithubIdentity
  readonly #repository: string
  #last: string | undefined

  /** @param repository its name, without the owner */
  constructor(identity: GithubIdentity, repository: string) {
    this.#identity = identity
    this.#repository = repository
  }

  async authorization({task, writes}: CredentialUse): Promise<string> {
    const repository = this.#repository
    this.#last = await this.#identity.gitToken({repository, writes, ...(task === undefined ? {} : {task})})
    return `Basic ${basic(this.#last)}`
  }

  refused(): boolean {
    const token = this.#last
    this.#last = undefined
    return token !== undefined && this.#identity.refused(token)
  }

  secrets(): readonly string[] {
    return this.#identity.secrets().flatMap((token) => [token, basic(token)])
  }
}

function basic(token: string): string {
  return Buffer.from(`x-access-token:${token}`).toString('base64')
}
