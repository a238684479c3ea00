import {CageError, ExitCode} from '../../core/errors.js'
import {isSameRepository, type GithubRepository} from '../../policy/github-repository.js'
import type {ApiClient} from './api-client.js'
import {apiHost, type AppTokens, type TokenWish} from './app-tokens.js'

/** A fork that tasks push to. */
export interface Fork extends GithubRepository {
  /** that gives tokens for it; absent = there is one token for everything */
  installation?: number
}

/** What GitHub says of a repository, as far as it matters here. */
interface Described {
  full_name?: unknown
  fork?: unknown
  archived?: unknown
  parent?: {full_name?: unknown}
  source?: {full_name?: unknown}
}

const PAGE = 100
const MAX_PAGES = 10
/** each one that may be it costs a question */
const MAX_ASKED = 200

/**
 * The one fork among what the app is installed on, in another account than the upstream.
 * @param take gets a token and remembers its value
 * Errors: FORK_*, GITHUB_*
 */
export async function forkOfApp(
  tokens: AppTokens,
  take: (wish: TokenWish) => Promise<string>,
  api: ApiClient,
  of: GithubRepository,
): Promise<Fork> {
  const others = (await tokens.installations()).filter(({account}) => !isSameName(account, of.owner))
  const found: Fork[] = []
  for (const {id: installation, account} of others) {
    const permissions = {metadata: 'read'} as const
    const token = await take({owner: '', installation, permissions, required: ['metadata']})
    const fork = await forkIn(new Asker(api, token), account, '/installation/repositories?', of)
    if (fork) found.push({...fork, installation})
  }
  const [fork, another] = found
  if (fork?.installation === undefined)
    throw missing(of, others.length === 0 ? 'the app is installed nowhere else' : accountsOf(others), [
      `Fork ${nameOf(of)} into the account that is to hold the branches, and install the app there for this fork alone.`,
      'The app needs *Contents: write* in that installation. Then run `cage up` again.',
    ])
  if (another)
    throw new CageError(`${nameOf(of)} has more than one fork here: ${found.map(nameOf).join(' and ')}`, {
      code: 'FORK_AMBIGUOUS',
      exitCode: ExitCode.precondition,
      hints: ['Take the forks that tasks are not to push to out of the installations of the app.'],
    })
  await tokens.requirePermissions(
    {permissions: {contents: 'write'}, required: ['contents']},
    fork.installation,
  )
  return fork
}

/** The fork in the account of the token's owner. Errors: FORK_*, GITHUB_* */
export async function forkOfPerson(token: string, api: ApiClient, of: GithubRepository): Promise<Fork> {
  const asker = new Asker(api, token)
  const {login} = (await asker.ask('/user')) as {login?: unknown}
  if (typeof login !== 'string') throw failed(200)
  if (isSameName(login, of.owner))
    throw missing(of, `the token belongs to ${login}, who owns the upstream`, [
      'Take the token of another account, which has a fork, or leave `repository.mode: fork` away.',
    ])
  const fork = await forkIn(asker, login, '/user/repos?affiliation=owner&', of)
  if (fork) return fork
  throw missing(of, `${login} has none`, [`Fork it as ${login}, then run \`cage up\` again.`])
}

/** @param list path of a list of repositories, up to its query */
async function forkIn(
  asker: Asker,
  account: string,
  list: string,
  of: GithubRepository,
): Promise<GithubRepository | undefined> {
  const names: GithubRepository[] = []
  for (let page = 1; page <= MAX_PAGES; page++) {
    const answer = await asker.ask(`${list}per_page=${PAGE}&page=${page}`)
    const repositories = listOf(answer)
    for (const {fork, full_name: full} of repositories) {
      const name = repositoryOf(full)
      if (fork === true && name && isSameName(name.owner, account)) names.push(name)
    }
    if (repositories.length < PAGE) break
  }
  // Most forks keep the name.
  const first = names.filter(({name}) => isSameName(name, of.name))
  const rest = names.filter(({name}) => !isSameName(name, of.name))
  for (const name of [...first, ...rest].slice(0, MAX_ASKED)) {
    const about = (await asker.ask(`/repos/${name.owner}/${name.name}`)) as Described
    const origins = [about.parent, about.source].map((one) => repositoryOf(one?.full_name))
    if (!origins.some((one) => one && isSameRepository(one, of))) continue
    if (about.archived === true) throw missing(of, `${nameOf(name)} is archived`, ['Unarchive it on GitHub.'])
    return name
  }
  return undefined
}

class Asker {
  readonly #api: ApiClient
  readonly #token: string

  constructor(api: ApiClient, token: string) {
    this.#api = api
    this.#token = token
  }

  async ask(target: string): Promise<object> {
    const {status, body} = await this.#api.ask(apiHost, {
      method: 'GET',
      target,
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${this.#token}`,
        'x-github-api-version': '2022-11-28',
      },
    })
    if (status !== 200) throw failed(status)
    const answer = JSON.parse(body.toString()) as unknown
    return typeof answer === 'object' && answer !== null ? answer : {}
  }
}

/** A plain list, or the one of an installation. */
function listOf(answer: object): Described[] {
  const list = Array.isArray(answer) ? answer : (answer as {repositories?: unknown}).repositories
  return Array.isArray(list) ? (list as Described[]) : []
}

function repositoryOf(full: unknown): GithubRepository | undefined {
  const [, owner, name] =
    /^([A-Za-z0-9][A-Za-z0-9-]{0,38})\/([A-Za-z0-9._-]{1,100})$/.exec(typeof full === 'string' ? full : '') ??
    []
  return owner === undefined || name === undefined || /^\.+$/.test(name) ? undefined : {owner, name}
}

function isSameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

function nameOf({owner, name}: GithubRepository): string {
  return `${owner}/${name}`
}

function accountsOf(installations: readonly {account: string}[]): string {
  return `looked in ${installations.map(({account}) => account).join(', ')}`
}

function missing(of: GithubRepository, why: string, hints: readonly string[]): CageError {
  return new CageError(`there is no fork of ${nameOf(of)} that tasks can push to: ${why}`, {
    code: 'FORK_MISSING',
    exitCode: ExitCode.precondition,
    hints,
  })
}

function failed(status: number): CageError {
  return new CageError(
    `GitHub did not say which forks there are (status ${status}); try again later, or look at the credential`,
    {code: 'GITHUB_FAILED'},
  )
}
