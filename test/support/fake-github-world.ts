/** A small GitHub: one organization, two repositories, people's pull requests and issues, and whatever is done to them. */
export interface FakePull {
  id: string
  number: number
  title: string
  body: string
  head: string
  base: string
  author: string
  state: 'OPEN' | 'CLOSED' | 'MERGED'
  draft: boolean
  /** from a fork: its owner */
  fork?: string
  comments: FakeComment[]
  reviews: {id: string; state: string; body: string; author: string}[]
  threads: {id: string; comments: FakeComment[]}[]
}

export interface FakeComment {
  id: string
  databaseId: number
  author: string
  body: string
}

export interface FakeIssue {
  id: string
  number: number
  title: string
  body: string
  state: 'OPEN' | 'CLOSED'
  comments: FakeComment[]
}

export interface FakeRun {
  id: number
  branch: string
  attempt: number
  /** from a fork: its owner */
  fork?: string
}

export interface FakeRepository {
  id: string
  owner: string
  name: string
  /** a fork of this one */
  parent?: FakeRepository
  archived?: boolean
  pulls: FakePull[]
  issues: FakeIssue[]
  runs: FakeRun[]
}

export class FakeWorld {
  readonly repositories: FakeRepository[]
  /** every change that got through, in order: the judge of tests */
  readonly changes: string[] = []
  /** who the caller is */
  viewer = 'cage-app[bot]'
  /** asks the repositories themselves */
  hasBranch: (path: string, branch: string) => boolean = () => true
  #next = 100

  constructor() {
    this.repositories = ['app', 'other'].map((name, index) => ({
      id: `R_${name}`,
      owner: 'org',
      name,
      pulls: [this.#pull(5, 'feature/of-a-person', 'ada'), this.#pull(6, 'fix/login', 'mallory', 'mallory')],
      issues: [
        {
          id: `I_${name}_3`,
          number: 3,
          title: `an issue of ${name}`,
          body: 'It does not log in.',
          state: 'OPEN',
          comments: [this.#comment('ada', 'I see it too.')],
        },
      ],
      runs: [
        {id: 70 + 100 * index, branch: 'fix/login', attempt: 1},
        {id: 71 + 100 * index, branch: 'main', attempt: 1},
      ],
    }))
  }

  repository(owner: string, name: string): FakeRepository | undefined {
    const same = (a: string, b: string) => a.toLowerCase() === b.toLowerCase()
    return this.repositories.find((one) => same(one.owner, owner) && same(one.name, name))
  }

  forkIn(owner: string, parent: FakeRepository): FakeRepository | undefined {
    return this.repositories.find((one) => one.owner === owner && one.parent === parent)
  }

  get app(): FakeRepository {
    const [app] = this.repositories
    if (!app) throw new Error('no repository')
    return app
  }

  /** What stands behind a node id, with the repository it is in. */
  find(id: string): {kind: string; repository: FakeRepository; pull?: FakePull; thing: object} | undefined {
    for (const repository of this.repositories) {
      if (repository.id === id) return {kind: 'Repository', repository, thing: repository}
      for (const issue of repository.issues) {
        if (issue.id === id) return {kind: 'Issue', repository, thing: issue}
        const comment = issue.comments.find((one) => one.id === id)
        if (comment) return {kind: 'IssueComment', repository, thing: comment}
      }
      for (const pull of repository.pulls) {
        if (pull.id === id) return {kind: 'PullRequest', repository, pull, thing: pull}
        const comment = pull.comments.find((one) => one.id === id)
        if (comment) return {kind: 'IssueComment', repository, pull, thing: comment}
        const review = pull.reviews.find((one) => one.id === id)
        if (review) return {kind: 'PullRequestReview', repository, pull, thing: review}
        for (const thread of pull.threads) {
          if (thread.id === id) return {kind: 'PullRequestReviewThread', repository, pull, thing: thread}
          const said = thread.comments.find((one) => one.id === id)
          if (said) return {kind: 'PullRequestReviewComment', repository, pull, thing: said}
        }
      }
    }
    return undefined
  }

  open(
    repository: FakeRepository,
    input: {title: string; body?: string; head: string; base: string; draft?: boolean; helpers?: boolean},
  ): FakePull {
    const [, owner, branch = input.head] = /^([^:]+):(.+)$/.exec(input.head) ?? []
    if (owner !== undefined) this.#requireHead(owner, branch, repository, input.helpers)
    const pull = {
      ...this.#pull(this.#next++, branch, this.viewer, owner),
      title: input.title,
      body: input.body ?? '',
      base: input.base,
      draft: input.draft ?? false,
    }
    repository.pulls.push(pull)
    this.changes.push(`open ${repository.name} ${input.head}`)
    return pull
  }

  /** What GitHub says of a branch elsewhere, to a token that is for the repository the pull request leads to. */
  #requireHead(owner: string, branch: string, parent: FakeRepository, helpers: boolean | undefined): void {
    const fork = this.forkIn(owner, parent)
    if (!fork || !this.hasBranch(`${fork.owner}/${fork.name}.git`, branch))
      throw new Error("Head sha can't be blank")
    if (helpers !== false) throw new Error("Fork collab can't be granted by someone without permission")
  }

  say(comments: FakeComment[], where: string, body: string): FakeComment {
    const comment = this.#comment(this.viewer, body)
    comments.push(comment)
    this.changes.push(`comment ${where}`)
    return comment
  }

  #comment(author: string, body: string): FakeComment {
    const databaseId = Math.floor(Math.random() * 1e9) + 1
    return {id: `IC_${databaseId}`, databaseId, author, body}
  }

  #pull(number: number, head: string, author: string, fork?: string): FakePull {
    return {
      id: `PR_${number}_${Math.random().toString(36).slice(2)}`,
      number,
      title: `pull request ${number}`,
      body: 'a body',
      head,
      base: 'main',
      author,
      state: 'OPEN',
      draft: false,
      ...(fork === undefined ? {} : {fork}),
      comments: [],
      reviews: [],
      threads: [],
    }
  }
}
