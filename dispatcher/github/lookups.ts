import type {Clock} from '../../core/clock.js'
import type {GithubRepository} from '../../policy/github-repository.js'
import {ApiDenied} from './denied.js'
import type {OwnRepository} from './document.js'
import type {NodeRule} from './mutations.js'
import type {Belonging} from './routes.js'

/** A question of the dispatcher itself, with the task's API token; undefined when GitHub does not know the thing. */
export type AskGithub = (target: string, body?: unknown) => Promise<unknown>

/** What a write is about to change turned out to be. */
export type Subject = 'pull request' | 'issue' | 'other'

interface Pull {
  headRefName: string
  isCrossRepository: boolean
  /** null once it is gone, or when the task's token does not see it */
  headRepository: {nameWithOwner: string} | null
  headRepositoryOwner: {login: string} | null
  repository: {nameWithOwner: string}
}

interface Node {
  __typename: string
  nameWithOwner?: string
  viewerDidAuthor?: boolean
  repository?: {nameWithOwner: string}
  ownPull?: Pull
  commentPull?: Pull | null
  commentIssue?: {number: number} | null
}

/** What REST says of an issue, a pull request, a comment, a job or a run. */
interface Thing {
  node_id: unknown
  /** of a job */
  run_id: unknown
  /** of a run */
  head_branch: unknown
  head_repository: {full_name?: unknown} | null | undefined
}

const HEAD = 'headRefName isCrossRepository headRepository{nameWithOwner} headRepositoryOwner{login}'
const PULL = `{${HEAD} repository{nameWithOwner}}`
/** Valid in GitHub's schema, which a test looks at. */
export const aboutNode = `query($id: ID!) {
  node(id: $id) {
    __typename
    ... on Repository {nameWithOwner}
    ... on RepositoryNode {repository{nameWithOwner}}
    ... on GitObject {repository{nameWithOwner}}
    ... on Ref {repository{nameWithOwner}}
    ... on CheckRun {repository{nameWithOwner}}
    ... on CheckSuite {repository{nameWithOwner}}
    ... on Label {repository{nameWithOwner}}
    ... on Milestone {repository{nameWithOwner}}
    ... on Release {repository{nameWithOwner}}
    ... on PullRequest {${HEAD}}
    ... on IssueComment {viewerDidAuthor commentPull: pullRequest${PULL} commentIssue: issue{number}}
    ... on PullRequestReview {viewerDidAuthor ownPull: pullRequest${PULL}}
    ... on PullRequestReviewComment {viewerDidAuthor ownPull: pullRequest${PULL}}
    ... on PullRequestReviewThread {repository{nameWithOwner} ownPull: pullRequest${PULL}}
  }
}`
const KEPT_MS = 60_000
const MAX_KEPT = 1000

/** What ids and numbers stand for at GitHub. A thing that is not the task's own looks like one that does not exist. */
export class Lookups {
  readonly #clock: Clock
  readonly #kept = new Map<string, {value: unknown; until: number}>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Throws ApiDenied unless the node is what the rule says. */
  async requireNode(
    ask: AskGithub,
    task: OwnRepository,
    id: string,
    rule: NodeRule | 'in the repository',
  ): Promise<Subject> {
    const node = await this.#node(ask, task, id)
    if (!node) throw notOwn()
    const here = (full: string | undefined) => isRepository(task, full)
    const isOwn = (pull: Pull | null | undefined) => isOwnPull(task, pull)
    const type = node.__typename
    switch (rule) {
      case 'in the repository':
        if (!here(node.repository?.nameWithOwner ?? node.ownPull?.repository.nameWithOwner)) throw notOwn()
        return 'other'
      case 'repository':
        if (type !== 'Repository' || !here(node.nameWithOwner)) throw notOwn()
        return 'other'
      case 'own pull request':
        if (type !== 'PullRequest' || !isOwn(node as unknown as Pull)) throw notOwnPull(task)
        return 'pull request'
      case 'conversation':
        if (type === 'PullRequest' && isOwn(node as unknown as Pull)) return 'pull request'
        if (type === 'PullRequest') throw notOwnPull(task)
        if (type !== 'Issue' || !here(node.repository?.nameWithOwner)) throw notOwn()
        return 'issue'
      case 'own comment':
        if (type !== 'IssueComment' || node.viewerDidAuthor !== true) throw notOwnComment()
        if (node.commentPull) {
          if (!isOwn(node.commentPull)) throw notOwnPull(task)
          return 'pull request'
        }
        if (!node.commentIssue || !here(node.repository?.nameWithOwner)) throw notOwn()
        return 'issue'
      case 'own review comment':
      case 'own review':
      case 'own thread': {
        const types = {
          'own review comment': 'PullRequestReviewComment',
          'own review': 'PullRequestReview',
          'own thread': 'PullRequestReviewThread',
        } as const
        if (type !== types[rule] || !isOwn(node.ownPull)) throw notOwnPull(task)
        if (rule !== 'own thread' && node.viewerDidAuthor !== true) throw notOwnComment()
        return 'pull request'
      }
    }
  }

  /** The same for what a REST path names. */
  async requireParameter(
    ask: AskGithub,
    task: OwnRepository,
    value: string,
    rule: Belonging,
  ): Promise<Subject> {
    if (!/^[1-9]\d{0,18}$/.test(value)) throw notOwn()
    const root = `/repos/${task.owner}/${task.name}`
    switch (rule) {
      case 'own pull request':
      case 'conversation': {
        const path = rule === 'conversation' ? 'issues' : 'pulls'
        const {node_id: id} = await this.#thing(ask, `${root}/${path}/${value}`)
        return this.requireNode(ask, task, textOf(id), rule)
      }
      case 'own comment': {
        const {node_id: id} = await this.#thing(ask, `${root}/issues/comments/${value}`)
        return this.requireNode(ask, task, textOf(id), rule)
      }
      case 'own review comment': {
        const {node_id: id} = await this.#thing(ask, `${root}/pulls/comments/${value}`)
        return this.requireNode(ask, task, textOf(id), rule)
      }
      case 'own job': {
        const {run_id: run} = await this.#thing(ask, `${root}/actions/jobs/${value}`)
        return this.requireParameter(ask, task, String(run), 'own run')
      }
      case 'own run': {
        const run = await this.#thing(ask, `${root}/actions/runs/${value}`)
        const head = run.head_repository
        if (run.head_branch !== task.branch || !isRepository(task.fork ?? task, head?.full_name))
          throw new ApiDenied('github.own', `this run is not one of the branch of this task, ${task.branch}`)
        return 'other'
      }
    }
  }

  async #node(ask: AskGithub, task: OwnRepository, id: string): Promise<Node | undefined> {
    return this.#known(`${task.owner}/${task.name} ${id}`, async () => {
      const answer = (await ask('/graphql', {query: aboutNode, variables: {id}})) as
        {data?: {node?: Node | null} | null} | undefined
      return answer?.data?.node ?? undefined
    })
  }

  /** What a number in a path stands for; in one repository it never becomes anything else. */
  async #thing(ask: AskGithub, target: string): Promise<Thing> {
    const thing = await this.#known(target, async () => {
      const answer = await ask(target)
      return typeof answer === 'object' && answer !== null ? thingIn(answer) : undefined
    })
    if (!thing) throw notOwn()
    return thing
  }

  /** What was found less than KEPT_MS ago is not asked for again. */
  async #known<T>(key: string, find: () => Promise<T | undefined>): Promise<T | undefined> {
    const kept = this.#kept.get(key)
    if (kept && kept.until > this.#clock.now()) return kept.value as T
    const value = await find()
    if (value === undefined) return undefined
    this.#kept.delete(key)
    this.#kept.set(key, {value, until: this.#clock.now() + KEPT_MS})
    for (const [old] of this.#kept) {
      if (this.#kept.size <= MAX_KEPT) break
      this.#kept.delete(old)
    }
    return value
  }
}

/** Without the texts, which may be long. */
function thingIn({node_id, run_id, head_branch, head_repository}: Partial<Thing>): Thing {
  const from = head_repository && {full_name: head_repository.full_name}
  return {node_id, run_id, head_branch, head_repository: from}
}

function isOwnPull(task: OwnRepository, pull: Pull | null | undefined): boolean {
  return (
    pull?.headRefName === task.branch &&
    isRepository(task, pull.repository.nameWithOwner) &&
    (task.fork ? comesFrom(task.fork, pull) : !pull.isCrossRepository)
  )
}

/** Of one repository an account has one fork, so its owner is enough where a private fork is not shown. */
function comesFrom(fork: GithubRepository, pull: Pull): boolean {
  const {isCrossRepository, headRepository, headRepositoryOwner} = pull
  return (
    isCrossRepository &&
    headRepositoryOwner?.login.toLowerCase() === fork.owner.toLowerCase() &&
    (headRepository === null || isRepository(fork, headRepository.nameWithOwner))
  )
}

function isRepository({owner, name}: GithubRepository, full: unknown): boolean {
  return typeof full === 'string' && full.toLowerCase() === `${owner}/${name}`.toLowerCase()
}

function textOf(id: unknown): string {
  if (typeof id !== 'string' || id === '') throw notOwn()
  return id
}

function notOwn(): ApiDenied {
  return new ApiDenied('github.own', 'there is no such thing in the repository of this task')
}

function notOwnPull({branch}: OwnRepository): ApiDenied {
  return new ApiDenied(
    'github.own',
    `a task changes the pull request of its own branch only, which is ${branch}`,
  )
}

function notOwnComment(): ApiDenied {
  return new ApiDenied(
    'github.own',
    'a task changes only what was written here before, not the words of others',
  )
}
