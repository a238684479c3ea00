import type {Clock} from '../../core/clock.js'
import {CageError, ExitCode} from '../../core/errors.js'
import type {GithubWrite} from '../../policy/grant.js'
import type {GithubRepository} from '../../policy/github-repository.js'
import type {ApiClient} from './api-client.js'
import {AppTokens, type AppIdentity, type Permissions} from './app-tokens.js'
import {forkOfApp, forkOfPerson, type Fork} from './forks.js'

/** One request of git; `task` absent = for the dispatcher's own copy. */
export interface GitUse {
  task?: string
  repository: string
  writes: boolean
  /** nobody ever pushes there */
  readOnly: boolean
  /** absent = the one of the project's settings */
  installation?: number
}

/** Who the dispatcher is at GitHub: an app, or the owner of one token. Values stay in this process. */
export interface GithubIdentity {
  /** what is written in its name and what a person writes there are by one author */
  readonly isPerson: boolean
  gitToken(use: GitUse): Promise<string>
  apiToken(use: {task: string; repository: string; writes: readonly GithubWrite[]}): Promise<string>
  /** GitHub answered 401 to it. @returns whether another one can be had */
  refused(token: string): boolean
  /** The fork of a repository that tasks push to. Errors: FORK_*, GITHUB_* */
  findFork(of: GithubRepository): Promise<Fork>
  /** @returns how many tokens could not be ended now */
  end(task: string): Promise<number>
  /** every value that was in use, for redaction */
  secrets(): readonly string[]
}

export class AppIdentityAtGithub implements GithubIdentity {
  readonly isPerson = false
  readonly #tokens: AppTokens
  /** ended ones too: an answer may still quote them */
  readonly #seen = new Set<string>()
  readonly #api: ApiClient

  constructor(identity: AppIdentity, api: ApiClient, clock: Clock) {
    this.#api = api
    this.#tokens = new AppTokens(identity, api, clock)
  }

  gitToken({task, repository, writes, readOnly, installation}: GitUse): Promise<string> {
    const isReading = readOnly || (task === undefined && !writes)
    return this.#take({
      owner: task ?? '',
      repository,
      permissions: {contents: isReading ? 'read' : 'write'},
      required: ['contents'],
      ...(installation === undefined ? {} : {installation}),
    })
  }

  findFork(of: GithubRepository): Promise<Fork> {
    return forkOfApp(this.#tokens, (wish) => this.#take(wish), this.#api, of)
  }

  apiToken({
    task,
    repository,
    writes,
  }: {
    task: string
    repository: string
    writes: readonly GithubWrite[]
  }): Promise<string> {
    const permissions: Permissions = {
      contents: 'read',
      pull_requests: writes.some((write) => write.startsWith('pr.')) ? 'write' : 'read',
      issues: writes.some((write) => write.startsWith('issue.')) ? 'write' : 'read',
      checks: 'read',
      statuses: 'read',
      actions: writes.includes('actions.rerun') ? 'write' : 'read',
    }
    return this.#take({owner: task, repository, permissions, required: ['contents', 'pull_requests']})
  }

  refused(token: string): boolean {
    this.#tokens.forget(token)
    return true
  }

  end(task: string): Promise<number> {
    return this.#tokens.revoke(task)
  }

  secrets(): readonly string[] {
    return [...this.#seen]
  }

  async #take(wish: Parameters<AppTokens['token']>[0]): Promise<string> {
    const token = await this.#tokens.token(wish)
    this.#seen.delete(token)
    this.#seen.add(token)
    for (const old of this.#seen) {
      if (this.#seen.size <= 512) break
      this.#seen.delete(old)
    }
    return token
  }
}

/** One fine-grained token for everything: what it may do is what GitHub's page says, not what the task may. */
export class TokenIdentityAtGithub implements GithubIdentity {
  readonly isPerson = true
  readonly #token: string
  readonly #api: ApiClient

  constructor(token: string, allowClassic: boolean, api: ApiClient) {
    if (isClassicToken(token) && !allowClassic) throw classicRefused()
    this.#token = token
    this.#api = api
  }

  findFork(of: GithubRepository): Promise<Fork> {
    return forkOfPerson(this.#token, this.#api, of)
  }

  gitToken(): Promise<string> {
    return Promise.resolve(this.#token)
  }

  apiToken(): Promise<string> {
    return Promise.resolve(this.#token)
  }

  refused(): boolean {
    return false
  }

  end(): Promise<number> {
    return Promise.resolve(0)
  }

  secrets(): readonly string[] {
    return [this.#token]
  }
}

/** Every repository of its owner, with every right of its scopes. */
function isClassicToken(token: string): boolean {
  return token.startsWith('ghp_') || /^[0-9a-f]{40}$/.test(token)
}

function classicRefused(): CageError {
  return new CageError(
    'the credential for GitHub is a classic token, which opens every repository of its owner',
    {
      code: 'CLASSIC_TOKEN',
      exitCode: ExitCode.precondition,
      hints: [
        'Use a GitHub App (`github` in your config.yaml) or a fine-grained token for this one repository.',
        'To use it all the same, say `github: { allowClassicToken: true }` in your config.yaml.',
      ],
    },
  )
}
