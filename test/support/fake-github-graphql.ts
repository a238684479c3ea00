import {readFileSync} from 'node:fs'
import {
  buildSchema,
  execute,
  getNamedType,
  isEnumType,
  isListType,
  isNonNullType,
  isScalarType,
  parse,
  validate,
  type GraphQLFieldResolver,
  type GraphQLOutputType,
  type GraphQLSchema,
} from 'graphql'
import type {FakeComment, FakeIssue, FakePull, FakeRepository, FakeWorld} from './fake-github-world.js'

let loaded: GraphQLSchema | undefined

/** GitHub's own schema. */
export function githubSchema(): GraphQLSchema {
  const text = () => readFileSync('node_modules/@octokit/graphql-schema/schema.graphql', 'utf8')
  return (loaded ??= buildSchema(text(), {assumeValidSDL: true, assumeValid: true}))
}

const OID = '0123456789abcdef0123456789abcdef01234567'
const when = '2026-01-01T00:00:00Z'
type Input = Record<string, string>

/** Executes a request on the world; what the world does not know is null or, where that may not be, a value that fits. */
export async function executeGraphql(
  world: FakeWorld,
  request: {query: string; variables?: Record<string, unknown>},
): Promise<unknown> {
  const schema = githubSchema()
  const document = parse(request.query)
  // Fields that are newer than the schema are left out of the answer; everything else must be valid.
  const wrong = validate(schema, document).filter(
    ({message}) =>
      !/^Cannot query field|conflict because|^Unknown type|is not defined by type|^Unknown argument/.test(
        message,
      ),
  )
  if (wrong.length > 0) return {errors: wrong.map(({message}) => ({message}))}
  return execute({
    schema,
    document,
    rootValue: rootOf(world),
    ...(request.variables ? {variableValues: request.variables} : {}),
    fieldResolver: resolveField,
    typeResolver: (value: {__typename?: string}) => value.__typename,
  })
}

const resolveField: GraphQLFieldResolver<Record<string, unknown> | undefined, unknown> = (
  source,
  args,
  _context,
  info,
) => {
  const value = source?.[info.fieldName]
  if (typeof value === 'function') return (value as (args: unknown) => unknown)(args)
  if (value !== undefined) return value
  if (info.parentType.name === 'Mutation') return undefined
  return filler(info.returnType)
}

function filler(type: GraphQLOutputType): unknown {
  if (!isNonNullType(type)) return isListType(type) ? [] : null
  const inner = type.ofType as GraphQLOutputType
  if (isListType(inner)) return []
  const named = getNamedType(inner)
  if (isEnumType(named)) return named.getValues()[0]?.value
  if (!isScalarType(named))
    return named.name.endsWith('Connection') ? connection([]) : {__typename: named.name}
  const values: Record<string, unknown> = {
    Boolean: false,
    DateTime: when,
    Float: 0,
    GitObjectID: OID,
    ID: 'ID',
    Int: 0,
    URI: 'https://github.com/org/app',
  }
  return Object.hasOwn(values, named.name) ? values[named.name] : ''
}

const connection = (nodes: unknown[]) => ({
  nodes,
  edges: nodes.map((node) => ({node, cursor: 'c'})),
  totalCount: nodes.length,
  pageInfo: {hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null},
})
const person = (login: string) => ({
  __typename: login.endsWith('[bot]') ? 'Bot' : 'User',
  login,
  id: `U_${login}`,
  name: login,
})

function rootOf(world: FakeWorld): Record<string, unknown> {
  const repository = (one: FakeRepository): Record<string, unknown> => {
    const url = `https://github.com/${one.owner}/${one.name}`
    const shallow = {
      __typename: 'Repository',
      id: one.id,
      name: one.name,
      nameWithOwner: `${one.owner}/${one.name}`,
      owner: {__typename: 'Organization', login: one.owner, id: `O_${one.owner}`},
      url,
      isPrivate: true,
      hasIssuesEnabled: true,
      viewerPermission: 'WRITE',
      mergeCommitAllowed: true,
      defaultBranchRef: {name: 'main', prefix: 'refs/heads/'},
      description: 'a repository',
    }
    const comment = (said: FakeComment, more: object = {}) => ({
      __typename: 'IssueComment',
      ...said,
      author: person(said.author),
      viewerDidAuthor: said.author === world.viewer,
      repository: shallow,
      url: `${url}/issues/1#issuecomment-${said.databaseId}`,
      authorAssociation: 'MEMBER',
      createdAt: when,
      ...more,
    })
    const pull = (p: FakePull): Record<string, unknown> => ({
      __typename: 'PullRequest',
      id: p.id,
      number: p.number,
      title: p.title,
      body: p.body,
      state: p.state,
      closed: p.state !== 'OPEN',
      isDraft: p.draft,
      headRefName: p.head,
      headRefOid: OID,
      baseRefName: p.base,
      isCrossRepository: p.fork !== undefined,
      headRepository:
        p.fork === undefined
          ? shallow
          : {
              ...shallow,
              id: 'R_fork',
              nameWithOwner: `${p.fork}/${world.forkIn(p.fork, one)?.name ?? one.name}`,
            },
      headRepositoryOwner: person(p.fork ?? one.owner),
      repository: shallow,
      author: person(p.author),
      url: `${url}/pull/${p.number}`,
      comments: () =>
        connection(
          p.comments.map((said) => comment(said, {pullRequest: () => pull(p), issue: {number: p.number}})),
        ),
      reviews: () =>
        connection(
          p.reviews.map((review) => ({
            __typename: 'PullRequestReview',
            ...review,
            author: person(review.author),
            submittedAt: when,
          })),
        ),
      latestReviews: () =>
        connection(
          p.reviews.map((review) => ({
            __typename: 'PullRequestReview',
            ...review,
            author: person(review.author),
          })),
        ),
      commits: () =>
        connection([
          {
            commit: {
              oid: OID,
              statusCheckRollup: {
                state: 'SUCCESS',
                contexts: () =>
                  connection([
                    {
                      __typename: 'CheckRun',
                      name: 'build',
                      status: 'COMPLETED',
                      conclusion: 'SUCCESS',
                      startedAt: when,
                      completedAt: when,
                      detailsUrl: `${url}/actions/runs/70/job/9`,
                      checkSuite: {workflowRun: {event: 'push', workflow: {name: 'CI'}}},
                    },
                  ]),
              },
            },
          },
        ]),
      createdAt: when,
      updatedAt: when,
      mergeable: 'MERGEABLE',
      mergeStateStatus: 'CLEAN',
      additions: 1,
      deletions: 0,
    })
    const issue = (i: FakeIssue): Record<string, unknown> => ({
      __typename: 'Issue',
      ...i,
      author: person('ada'),
      repository: shallow,
      url: `${url}/issues/${i.number}`,
      comments: () => connection(i.comments.map((said) => comment(said, {issue: {number: i.number}}))),
      createdAt: when,
      updatedAt: when,
    })
    const byNumber = (number: number) => {
      const foundPull = one.pulls.find((p) => p.number === number)
      const foundIssue = one.issues.find((i) => i.number === number)
      if (foundPull) return pull(foundPull)
      if (foundIssue) return issue(foundIssue)
      throw new Error(`Could not resolve to an issue or pull request with the number of ${number}.`)
    }
    return {
      ...shallow,
      object: null,
      pullRequest: ({number}: {number: number}) => byNumber(number),
      issue: ({number}: {number: number}) => byNumber(number),
      issueOrPullRequest: ({number}: {number: number}) => byNumber(number),
      pullRequests: ({headRefName, states}: {headRefName?: string; states?: string[]}) =>
        connection(
          one.pulls
            .filter(
              (p) =>
                (headRefName === undefined || p.head === headRefName) &&
                (!states || states.includes(p.state)),
            )
            .map(pull),
        ),
      issues: ({states}: {states?: string[]}) =>
        connection(one.issues.filter((i) => !states || states.includes(i.state)).map(issue)),
      labels: () => connection([]),
      of: {pull, issue, comment, shallow},
    }
  }
  interface Parts {
    pull: (p: FakePull) => unknown
    issue: (i: FakeIssue) => unknown
    comment: (c: FakeComment, more?: object) => unknown
    shallow: object
  }
  const parts = (one: FakeRepository) => repository(one)['of'] as Parts
  const node = (id: string): unknown => {
    const found = world.find(id)
    if (!found) throw new Error(`Could not resolve to a node with the global id of '${id}'`)
    const {kind, repository: one, pull, thing} = found
    const make = parts(one)
    const inPull = pull ? {pullRequest: make.pull(pull)} : {}
    switch (kind) {
      case 'Repository':
        return repository(one)
      case 'PullRequest':
        return make.pull(thing as FakePull)
      case 'Issue':
        return make.issue(thing as FakeIssue)
      case 'IssueComment':
        return make.comment(thing as FakeComment, {...inPull, issue: {number: 3}})
      default:
        return {
          __typename: kind,
          ...thing,
          viewerDidAuthor: (thing as {author?: string}).author === world.viewer,
          repository: make.shallow,
          ...inPull,
        }
    }
  }
  const pullOf = (input: Input, key = 'pullRequestId') => {
    const found = world.find(input[key] ?? '')
    if (!found?.pull) throw new Error('no such pull request')
    return {
      found,
      pull: found.pull,
      answer: () => ({
        pullRequest: parts(found.repository).pull(found.pull!),
        clientMutationId: null,
      }),
    }
  }
  const change =
    (what: string, act: (p: FakePull, input: Input) => void) =>
    ({input}: {input: Input}) => {
      const {found, pull, answer} = pullOf(input)
      act(pull, input)
      world.changes.push(`${what} ${found.repository.name}#${pull.number}`)
      return answer()
    }
  const mutations: Record<string, unknown> = {
    createPullRequest: ({input}: {input: Input}) => {
      const one = world.repositories.find(({id}) => id === input['repositoryId'])
      if (!one) throw new Error('no such repository')
      const {title = '', body = '', headRefName = '', baseRefName = '', draft, maintainerCanModify} = input
      const pull = world.open(one, {
        title,
        body,
        head: headRefName,
        base: baseRefName,
        draft: Boolean(draft),
        helpers: Boolean(maintainerCanModify),
      })
      return {pullRequest: parts(one).pull(pull)}
    },
    updatePullRequest: change('update', (p, {title, body}) =>
      Object.assign(p, title === undefined ? {} : {title}, body === undefined ? {} : {body}),
    ),
    closePullRequest: change('close', (p) => (p.state = 'CLOSED')),
    reopenPullRequest: change('reopen', (p) => (p.state = 'OPEN')),
    markPullRequestReadyForReview: change('ready', (p) => (p.draft = false)),
    convertPullRequestToDraft: change('draft', (p) => (p.draft = true)),
    mergePullRequest: change('MERGE', (p) => (p.state = 'MERGED')),
    enablePullRequestAutoMerge: change('AUTOMERGE', () => undefined),
    addPullRequestReview: change('review', (p, {event = 'PENDING', body = ''}) => {
      p.reviews.push({
        id: `PRR_${p.reviews.length}_${p.number}`,
        state: event === 'COMMENT' ? 'COMMENTED' : event,
        body,
        author: world.viewer,
      })
    }),
    addComment: ({input: {subjectId = '', body = ''}}: {input: Input}) => {
      const found = world.find(subjectId)
      if (!found) throw new Error('no such subject')
      const {comments, number} = found.thing as FakeIssue
      const said = world.say(comments, `${found.repository.name}#${number}`, body)
      return {commentEdge: {node: parts(found.repository).comment(said)}, subject: node(subjectId)}
    },
    updateIssueComment: ({input: {id = '', body = ''}}: {input: Input}) => {
      const found = world.find(id)
      if (!found) throw new Error('no such comment')
      Object.assign(found.thing, {body})
      world.changes.push(`edit ${id}`)
      return {issueComment: node(id)}
    },
  }
  for (const name of Object.keys(githubSchema().getMutationType()?.getFields() ?? {}))
    mutations[name] ??= () => {
      world.changes.push(`MUTATION ${name}`)
      return {clientMutationId: null}
    }
  return {
    ...mutations,
    viewer: person(world.viewer),
    repository: ({owner, name}: Input) => {
      const one = world.repository(owner ?? '', name ?? '')
      if (!one) throw new Error(`Could not resolve to a Repository with the name '${owner}/${name}'.`)
      return repository(one)
    },
    node: ({id}: {id: string}) => node(id),
    nodes: ({ids}: {ids: string[]}) => ids.map(node),
    search: () => ({
      ...connection(world.repositories.flatMap((one) => one.issues.map((i) => parts(one).issue(i)))),
      issueCount: 1,
    }),
    rateLimit: {limit: 5000, remaining: 4999, cost: 1, nodeCount: 1, used: 1, resetAt: when},
  }
}
