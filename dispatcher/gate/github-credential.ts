import type {GithubIdentity, GitUse} from '../github/identity.js'
import type {Credential, CredentialUse} from './credential.js'

/** Which repository, and what it is used for. */
export type GithubPlace = Pick<GitUse, 'repository' | 'readOnly' | 'installation'>

/** Git at github.com: the token of the task, for this repository alone. */
export class GithubCredential implements Credential {
  readonly #identity: GithubIdentity
  readonly #place: GithubPlace
  #last: string | undefined

  constructor(identity: GithubIdentity, place: GithubPlace) {
    this.#identity = identity
    this.#place = place
  }

  async authorization({task, writes}: CredentialUse): Promise<string> {
    const use = {...this.#place, writes, ...(task === undefined ? {} : {task})}
    this.#last = await this.#identity.gitToken(use)
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
