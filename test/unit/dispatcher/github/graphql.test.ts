import {describe, expect, it} from '@jest/globals'
import {parse, validate} from 'graphql'
import {readGraphql} from '../../../../dispatcher/github/document.js'
import {githubSchema} from '../../../support/fake-github-graphql.js'

const task = {owner: 'org', name: 'app', branch: 'fix/login', base: 'main'}
const read = (query: string, variables?: unknown, more: object = {}) =>
  readGraphql(JSON.stringify({query, ...(variables === undefined ? {} : {variables}), ...more}), task)
const sent = (query: string, variables?: unknown) =>
  JSON.parse(read(query, variables).body) as {query: string; variables: Record<string, unknown>}

const MERGE = 'mergePullRequest(input: {pullRequestId: "PR_1"}) {clientMutationId}'
const COMMENT = 'addComment(input: {subjectId: "PR_1", body: "hi"}) {clientMutationId}'

describe('a mutation that is not for tasks', () => {
  const merging = /^mergePullRequest is not available to a task: merging is left to a person$/
  it.each([
    ['plain', `mutation {${MERGE}}`],
    ['behind a comment', `# query\nmutation {${MERGE}}`],
    ['under the name of an allowed one', `mutation {addComment: ${MERGE}}`],
    ['in a fragment', `mutation {...F} fragment F on Mutation {${MERGE}}`],
    ['in a fragment that comes first', `fragment F on Mutation {${MERGE}} mutation {...F}`],
    ['in an inline fragment', `mutation {... on Mutation {${MERGE}}}`],
    ['beside an allowed one', `mutation {${COMMENT} ${MERGE}}`],
    [
      'in nested fragments',
      `mutation {...A} fragment A on Mutation {...B} fragment B on Mutation {${MERGE}}`,
    ],
  ])('is seen %s', (_, query) => {
    expect(() => read(query)).toThrow(merging)
  })

  it.each([
    ['createRef', 'branches and tags move by git push only'],
    ['createCommitOnBranch', 'files change by git push only'],
    ['createBranchProtectionRule', 'the settings of repositories and apps are left to people'],
    ['requestReviewsByLogin', 'it is not among what a task may do on GitHub'],
    ['constructor', 'it is not among what a task may do on GitHub'],
    ['__proto__', 'it is not among what a task may do on GitHub'],
  ])('%s says why', (name, why) => {
    expect(() => read(`mutation {${name}(input: {}) {clientMutationId}}`)).toThrow(why)
  })
})

describe('the form of a request', () => {
  it.each([
    ['two operations', `query A {viewer {login}} mutation B {${COMMENT}}`, {operationName: 'A'}],
    ['two mutations', `mutation {a: ${COMMENT} b: ${COMMENT}}`, {}],
    ['a subscription', 'subscription {viewer {login}}', {}],
    ['an argument given twice', 'query {repository(owner: "other", owner: "org", name: "app") {id}}', {}],
    [
      'a variable declared twice',
      'query($n: String!, $n: String) {repository(owner: "org", name: $n) {id}}',
      {variables: {n: 'app'}},
    ],
    ['another operation name', 'query A {viewer {login}}', {operationName: 'B'}],
    ['a persisted query', '', {extensions: {persistedQuery: {}}}],
    [
      'a conditional mutation',
      'mutation($s: Boolean!) {addComment(input: {subjectId: "x", body: "b"}) @skip(if: $s) {clientMutationId}}',
      {variables: {s: true}},
    ],
    [
      'defaults in a mutation',
      'mutation($i: AddCommentInput = {}) {addComment(input: $i) {clientMutationId}}',
      {},
    ],
    ['a type definition', 'type A {a: Int} query {viewer {login}}', {}],
    ['a fragment that contains itself', 'query {viewer {...F}} fragment F on User {...F}', {}],
    [
      'two fragments of one name',
      'query {viewer {...F}} fragment F on User {login} fragment F on User {id}',
      {},
    ],
    ['an unknown directive', 'query {viewer @client {login}}', {}],
    ['not a query', 'nonsense {', {}],
    [
      'deep',
      `query {repository(owner: "org", name: "app") {${'issueTemplates {a: '.repeat(40)}id${'}'.repeat(40)}}}`,
      {},
    ],
    [
      'fragments that double at every step',
      `query {...A0} ${Array.from({length: 40}, (_, n) => `fragment A${n} on Query {...A${n + 1} ...A${n + 1}}`).join(' ')} fragment A40 on Query {rateLimit {cost}}`,
      {},
    ],
    ['too many tokens', `query {${'viewer {login} '.repeat(9000)}}`, {}],
  ])('is refused: %s', (_, query, more) => {
    expect(() => readGraphql(JSON.stringify({query, ...more}), task)).toThrow()
  })

  it.each([
    '',
    '[]',
    '[{"query":"{viewer{login}}"}]',
    'null',
    '"text"',
    '{"query":1}',
    '{"query":"{viewer{login}}","variables":[]}',
  ])('is refused: body %s', (body) => {
    expect(() => readGraphql(body, task)).toThrow()
  })

  it('takes the last of two equal keys, and sends that one', () => {
    const body = `{"query": "mutation {${COMMENT.replaceAll('"', '\\"')}}", "query": "{viewer {login}}"}`
    const request = readGraphql(body, task)
    expect(request.operation).toBe('query')
    expect(request.body).not.toContain('addComment')
  })
})

describe('a query', () => {
  it.each([
    ['another repository', '{repository(owner: "org", name: "other") {id}}'],
    ['another owner', '{repository(owner: "evil", name: "app") {id}}'],
    ['no repository', '{repository {id}}'],
    [
      'a repository by default value of another',
      'query($n: String = "other") {repository(owner: "org", name: $n) {id}}',
    ],
    ['people', '{user(login: "ada") {email}}'],
    ['an organization', '{organization(login: "org") {id}}'],
    ['the whole schema', '{__schema {types {name}}}'],
    ['an address', '{resource(url: "https://github.com/org/other") {url}}'],
    [
      'one more of the same kind',
      '{a: repository(owner: "org", name: "app") {id} b: repository(owner: "org", name: "other") {id}}',
    ],
    [
      'repositories of the owner',
      '{repository(owner: "org", name: "app") {owner {repositories(first: 9) {nodes {name}}}}}',
    ],
    [
      'repositories of a person',
      '{repository(owner: "org", name: "app") {assignableUsers(first: 1) {nodes {repositories(first: 1) {nodes {name}}}}}}',
    ],
    [
      'issues of a person',
      '{repository(owner: "org", name: "app") {assignableUsers(first: 1) {nodes {issues(first: 1) {nodes {body}}}}}}',
    ],
    ['forks', '{repository(owner: "org", name: "app") {forks(first: 1) {nodes {name}}}}'],
    [
      'what is in the parent',
      '{repository(owner: "org", name: "app") {parent {object(expression: "HEAD:a") {id}}}}',
    ],
    [
      'what is in the parent, in a fragment',
      '{repository(owner: "org", name: "app") {parent {...F}}} fragment F on Repository {issues(first: 1) {nodes {body}}}',
    ],
    ['keys', '{repository(owner: "org", name: "app") {deployKeys(first: 1) {nodes {key}}}}'],
    ['the address of the viewer', '{viewer {email}}'],
    ['repositories of the viewer', '{viewer {repositories(first: 1) {nodes {name}}}}'],
    ['a search everywhere', '{search(query: "password", type: ISSUE, first: 1) {issueCount}}'],
    ['a search elsewhere', '{search(query: "repo:org/other x", type: ISSUE, first: 1) {issueCount}}'],
    [
      'a search here and elsewhere',
      '{search(query: "repo:org/app repo:org/other x", type: ISSUE, first: 1) {issueCount}}',
    ],
    [
      'a search here or everywhere',
      '{search(query: "repo:org/app OR x", type: ISSUE, first: 1) {issueCount}}',
    ],
    ['a node without id', '{node {id}}'],
  ])('for %s is refused', (_, query) => {
    expect(() => read(query)).toThrow()
  })

  it('for the own repository is sent as it was parsed', () => {
    const query =
      'query Q($owner: String!, $name: String!, $n: Int = 3) { repository(owner: $owner, name: $name) { issues(first: $n) { nodes { title } } } }'
    const request = sent(query, {owner: 'ORG', name: 'App', extra: 'not declared'})
    expect(request.variables).toEqual({owner: 'ORG', name: 'App', n: 3})
    expect(validate(githubSchema(), parse(request.query))).toEqual([])
  })

  it('asks for the nodes behind its ids to be looked up', () => {
    expect(
      read('query($i: [ID!]!) {nodes(ids: $i) {id} node(id: "PR_9") {id}}', {i: ['I_1', 'I_2']}).ids,
    ).toEqual([
      {id: 'I_1', rule: 'in the repository'},
      {id: 'I_2', rule: 'in the repository'},
      {id: 'PR_9', rule: 'in the repository'},
    ])
  })

  it('may search the own repository', () => {
    expect(
      read('{search(query: "repo:Org/App is:open author:@me", type: ISSUE, first: 1) {issueCount}}').roots,
    ).toEqual(['search'])
  })
})

describe('a pull request', () => {
  const input = {repositoryId: 'R_1', title: 't', body: 'b', headRefName: 'fix/login', baseRefName: 'main'}
  const create =
    'mutation C($input: CreatePullRequestInput!) {createPullRequest(input: $input) {pullRequest {id url}}}'

  it('is opened from the branch of the task, with what was judged and nothing else', () => {
    const query =
      'mutation C($input: CreatePullRequestInput!, $n: Int!, $x: Int) {mine: createPullRequest(input: $input) {pullRequest {id ...F}}} fragment F on PullRequest {files(first: $n) {totalCount}} fragment G on User {id}'
    const request = sent(query, {input, n: 1, x: 2})
    expect(request.variables).toEqual({cageInput: input, n: 1})
    expect(request.query).toContain('mine: createPullRequest(input: $cageInput)')
    expect(request.query).not.toContain('fragment G')
    expect(validate(githubSchema(), parse(request.query))).toEqual([])
  })

  it('takes literals, too', () => {
    const request = sent(
      'mutation {addPullRequestReview(input: {pullRequestId: "PR_1", event: COMMENT, body: "well"}) {clientMutationId}}',
    )
    expect(request.variables['cageInput']).toEqual({pullRequestId: 'PR_1', event: 'COMMENT', body: 'well'})
    expect(validate(githubSchema(), parse(request.query))).toEqual([])
  })

  it.each([
    ['another branch', {headRefName: 'main'}],
    ['a branch of a fork', {headRefName: 'evil:fix/login'}],
    ['another base', {baseRefName: 'release'}],
    ['a fork', {headRepositoryId: 'R_2'}],
    ['no repository', {repositoryId: null}],
    ['a title that is no text', {title: {}}],
    ['a huge body', {body: 'x'.repeat(70_000)}],
  ])('is not opened with %s', (_, over) => {
    expect(() => read(create, {input: {...input, ...over}})).toThrow()
  })

  it.each(['APPROVE', 'REQUEST_CHANGES', 'DISMISS', 'comment', ''])('is not reviewed with %s', (event) => {
    const query =
      'mutation($input: AddPullRequestReviewInput!) {addPullRequestReview(input: $input) {clientMutationId}}'
    expect(() => read(query, {input: {pullRequestId: 'PR_1', event}})).toThrow(
      'a task reviews with COMMENT only',
    )
  })

  it('is not given labels, reviewers or another base by an update', () => {
    const query =
      'mutation($input: UpdatePullRequestInput!) {updatePullRequest(input: $input) {clientMutationId}}'
    for (const more of [
      {labelIds: ['L_1']},
      {assigneeIds: ['U_1']},
      {baseRefName: 'release'},
      {milestoneId: 'M'},
    ])
      expect(() => read(query, {input: {pullRequestId: 'PR_1', ...more}})).toThrow()
  })
})
