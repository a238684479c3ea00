import {createHash} from 'node:crypto'
import type {IncomingHttpHeaders} from 'node:http'
import type {Clock} from '../../core/clock.js'
import {messageOf} from '../../core/errors.js'
import type {GitGrant, GithubGrant, GithubWrite} from '../../policy/grant.js'
import type {ApiRequest} from './api-client.js'
import {HourlyBudget} from './budget.js'
import {ApiDenied} from './denied.js'
import {readGraphql, type OwnRepository} from './document.js'
import {Lookups, type AskGithub} from './lookups.js'
import {readRest} from './rest.js'
import {requireNoOrders} from './text-filter.js'

/** A request as the task made it. */
export interface AskedRequest {
  method: string
  /** path and query */
  target: string
  headers: IncomingHttpHeaders
  body: string
}

/** Who asks, and for what it has rights. */
export interface Asking {
  grant: GitGrant
  rights: GithubGrant
  task: OwnRepository
}

/** A request that may go: what is sent to GitHub and what the journal says of it. */
export interface Judged {
  writes: boolean
  /** without a credential */
  request: ApiRequest
  /** GitHub answers with the address of a file */
  file?: true
  /** the answer is made from who the dispatcher is */
  user?: true
  about: Record<string, unknown>
}

export interface JudgeOptions {
  /** whether the dispatcher speaks as a person at GitHub, whose own words look like its own there */
  isPerson: () => boolean
  /** rule and line of every secret in each text. Errors: whatever kept it from judging */
  scan: (texts: readonly string[]) => Promise<{rule: string; line: number}[][]>
  clock: Clock
  log: (text: string) => void
}

const VIEWER = JSON.stringify({query: 'query { viewer { __typename login id databaseId } }'})

/** Decides about requests to GitHub's API: by form, by rights, by what ids stand for, by what the texts say. */
export class ApiJudge {
  readonly #options: JudgeOptions
  readonly #budget: HourlyBudget
  readonly #lookups: Lookups

  constructor(options: JudgeOptions) {
    this.#options = options
    this.#budget = new HourlyBudget(options.clock)
    this.#lookups = new Lookups(options.clock)
  }

  /** @param ask with the task's token. Throws ApiDenied */
  judge(asking: Asking, asked: AskedRequest, ask: AskGithub): Promise<Judged> {
    return asked.target === '/graphql' ? this.#graphql(asking, asked, ask) : this.#rest(asking, asked, ask)
  }

  async #graphql(
    asking: Asking,
    {method, target, headers, body}: AskedRequest,
    ask: AskGithub,
  ): Promise<Judged> {
    if (method !== 'POST') throw new ApiDenied('github.graphql', 'GraphQL is asked with POST')
    const read = readGraphql(body, asking.task)
    const {change, operation, name, roots, ids} = read
    this.#take(asking, change !== undefined)
    // Each node that a question names is a question of its own.
    if (!change) ids.slice(1).forEach(() => this.#take(asking, false))
    if (change) {
      const {rule, input} = change
      requireRights(asking, [rule.write, ...rightsFor(rule.needs, input.values)])
    }
    for (const {id, rule} of ids) {
      this.#requireOwnWords(rule)
      const subject = await this.#lookups.requireNode(ask, asking.task, id, rule)
      if (change && subject === 'issue') requireRights(asking, ['issue.comment'])
    }
    await this.#filter(change?.input.texts ?? [])
    return {
      writes: change !== undefined,
      request: {method, target, body: read.body, headers: graphqlHeaders(headers)},
      about: {
        operation,
        ...(name === undefined ? {} : {name}),
        roots,
        ...(ids.length === 0 ? {} : {ids: ids.map(({id}) => id)}),
        ...digest(read.body),
      },
    }
  }

  async #rest(
    asking: Asking,
    {method, target, headers, body}: AskedRequest,
    ask: AskGithub,
  ): Promise<Judged> {
    const read = readRest(method, target, body, asking.task)
    const {route, parameters, input} = read
    const writes = route.write !== undefined
    this.#take(asking, writes)
    requireRights(asking, read.needs)
    if (route.belongs) {
      this.#requireOwnWords(route.belongs)
      const subject = await this.#lookups.requireParameter(
        ask,
        asking.task,
        ownParameter(parameters),
        route.belongs,
      )
      if (subject === 'issue') requireRights(asking, ['issue.comment'])
    }
    await this.#filter(input?.texts ?? [])
    const about = {
      method,
      template: route.path,
      parameters,
      ...(read.body === undefined ? {} : digest(read.body)),
    }
    if (route.own === 'user') {
      const request = {method: 'POST', target: '/graphql', body: VIEWER, headers: graphqlHeaders({})}
      return {writes, request, user: true, about}
    }
    return {
      writes,
      request: {
        method,
        target: read.target,
        headers: restHeaders(headers, read.body !== undefined),
        ...(read.body === undefined ? {} : {body: read.body}),
      },
      ...(route.file ? {file: true} : {}),
      about,
    }
  }

  #requireOwnWords(rule: string): void {
    if ((rule === 'own comment' || rule === 'own review comment') && this.#options.isPerson())
      throw new ApiDenied(
        'github.own',
        'with the token of a person comments are not changed: they could be the words of that person',
      )
  }

  #take({grant, rights}: Asking, writes: boolean): void {
    const limit = writes ? rights.writesPerHour : rights.readsPerHour
    if (this.#budget.take(grant.task, writes ? 'write' : 'read', limit)) return
    const what = writes ? 'changes' : 'questions'
    throw new ApiDenied(
      'github.budget',
      `this task has used up its ${limit} ${what} per hour at GitHub; try again later`,
      429,
    )
  }

  async #filter(texts: readonly {field: string; text: string}[]): Promise<void> {
    if (texts.length === 0) return
    for (const {field, text} of texts) requireNoOrders(field, text)
    let found: {rule: string; line: number}[][]
    try {
      found = await this.#options.scan(texts.map(({text}) => text))
    } catch (error) {
      this.#options.log(messageOf(error))
      throw new ApiDenied('secrets.onError', 'the text was not sent: it could not be scanned for secrets')
    }
    texts.forEach(({field}, index) => {
      const [first] = found[index] ?? [{rule: 'not scanned', line: 1}]
      if (first)
        throw new ApiDenied(
          'secrets.default',
          `the ${field} was not sent: it holds a secret (${first.rule}, line ${first.line}); take it out`,
        )
    })
  }
}

function requireRights({rights}: Asking, needed: readonly GithubWrite[]): void {
  const missing = needed.find((one) => !rights.writes.includes(one))
  if (missing !== undefined)
    throw new ApiDenied('github.rights', `this task was not given the right ${missing}`)
}

function rightsFor(
  needs: {field: string; write: GithubWrite} | undefined,
  values: Record<string, unknown>,
): GithubWrite[] {
  return needs && values[needs.field] !== undefined ? [needs.write] : []
}

/** The first one behind owner and repository. */
function ownParameter(parameters: Readonly<Record<string, string>>): string {
  return Object.entries(parameters).find(([name]) => name !== 'owner' && name !== 'repo')?.[1] ?? ''
}

function restHeaders(headers: IncomingHttpHeaders, hasBody: boolean): Record<string, string> {
  const asked = (headers.accept ?? '').split(',').map((one) => one.trim().replace(/;\s*charset=utf-8$/i, ''))
  const accept = asked.find((one) => /^application\/vnd\.github(?:\.[a-z0-9-]+)*(?:\+json)?$/.test(one))
  const known = headers['if-none-match']
  return {
    accept: accept ?? 'application/vnd.github+json',
    'x-github-api-version': '2022-11-28',
    ...(known !== undefined && known.length < 200 ? {'if-none-match': known} : {}),
    ...(hasBody ? {'content-type': 'application/json'} : {}),
  }
}

/** gh names features that GitHub shows only then; they add fields and no rights. */
function graphqlHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const features = headers['graphql-features']
  const fits = typeof features === 'string' && /^[a-z0-9_, -]{1,200}$/.test(features)
  return {
    accept: 'application/json',
    'content-type': 'application/json',
    ...(fits ? {'graphql-features': features} : {}),
  }
}

function digest(body: string): {bodySha256: string; bodyBytes: number} {
  const bodySha256 = createHash('sha256').update(body).digest('hex')
  return {bodySha256, bodyBytes: Buffer.byteLength(body)}
}
