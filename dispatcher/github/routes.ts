import type {GithubWrite} from '../../policy/grant.js'
import type {Fields} from './fields.js'
import {parseTemplate, type Template} from './template.js'

/** What a route's parameter must belong to; looked up at GitHub before the request goes on. */
export type Belonging =
  /** a pull request from the task's branch within the repository */
  | 'own pull request'
  /** the same, or an issue of the repository */
  | 'conversation'
  /** a comment that the dispatcher's identity wrote, in the task's own pull request or in an issue */
  | 'own comment'
  | 'own review comment'
  /** a run of the task's branch */
  | 'own run'
  | 'own job'

export interface Route {
  method: string
  template: Template
  /** as in GitHub's description, for records and tests */
  path: string
  /** reads need no further right */
  write?: GithubWrite
  /** what the first parameter after owner and repository must be */
  belongs?: Belonging
  /** of a write's JSON body */
  fields?: Fields
  required?: readonly string[]
  /** a text that may only be there with another right, e.g. closing by an update */
  needs?: {field: string; write: GithubWrite}
  /** GitHub answers with the address of a file elsewhere: fetched here, never passed on */
  file?: true
  /** built here, from who the dispatcher is at GitHub */
  own?: 'user'
}

const REPOSITORY = '/repos/{owner}/{repo}'

const read = (path: string, more: Partial<Route> = {}): Route => {
  const full = path.startsWith(':r') ? `${REPOSITORY}${path.slice(2)}` : path
  return {method: 'GET', path: full, template: parseTemplate(full), ...more}
}

const write = (
  line: string,
  right: GithubWrite,
  fields: Fields,
  more: Partial<Route> & {belongs?: Belonging} = {},
): Route => {
  const [method = '', path = ''] = line.split(' ')
  return {...read(path), method, write: right, fields, ...more}
}

const files = {body: 'text', commit_id: 'word', path: 'word'} as const
const lines = {
  line: 'number',
  side: ['LEFT', 'RIGHT'],
  start_line: 'number',
  start_side: ['LEFT', 'RIGHT'],
  subject_type: ['line', 'file'],
} as const

/** The REST requests that a task may make; `:r` is its repository. Everything else is denied. */
export const routes: readonly Route[] = [
  read('/'),
  read('/rate_limit'),
  read('/user', {own: 'user'}),
  read('/search/issues'),
  read('/search/code'),
  read('/search/commits'),
  ...[
    '',
    '/readme',
    '/contents',
    '/contents/{path}',
    '/branches',
    '/branches/{branch}',
    '/tags',
    '/commits',
    '/commits/{sha}',
    '/compare/{basehead}',
    '/git/blobs/{sha}',
    '/git/commits/{sha}',
    '/git/tags/{sha}',
    '/git/trees/{sha}',
    '/git/ref/{ref}',
    '/git/matching-refs/{ref}',
    '/languages',
    '/license',
    '/contributors',
    '/assignees',
    '/labels',
    '/labels/{name}',
    '/milestones',
    '/milestones/{number}',
    '/releases',
    '/releases/latest',
    '/releases/{id}',
    '/releases/tags/{ref}',
  ].map((path) => read(`:r${path}`)),
  ...[
    '',
    '/comments',
    '/comments/{id}',
    '/{number}',
    '/{number}/commits',
    '/{number}/files',
    '/{number}/comments',
    '/{number}/merge',
    '/{number}/requested_reviewers',
    '/{number}/reviews',
    '/{number}/reviews/{id}',
    '/{number}/reviews/{id}/comments',
  ].map((path) => read(`:r/pulls${path}`)),
  ...[
    '',
    '/comments',
    '/comments/{id}',
    '/{number}',
    '/{number}/comments',
    '/{number}/events',
    '/{number}/labels',
    '/{number}/timeline',
  ].map((path) => read(`:r/issues${path}`)),
  ...[
    '/commits/{sha}/check-runs',
    '/commits/{sha}/check-suites',
    '/commits/{sha}/status',
    '/commits/{sha}/statuses',
    '/commits/{sha}/pulls',
    '/commits/{sha}/comments',
    '/check-runs/{id}',
    '/check-runs/{id}/annotations',
    '/check-suites/{id}',
    '/check-suites/{id}/check-runs',
    '/actions/runs',
    '/actions/runs/{id}',
    '/actions/runs/{id}/jobs',
    '/actions/runs/{id}/artifacts',
    '/actions/runs/{id}/attempts/{number}',
    '/actions/runs/{id}/attempts/{number}/jobs',
    '/actions/jobs/{id}',
    '/actions/workflows',
    '/actions/workflows/{name}',
    '/actions/workflows/{name}/runs',
  ].map((path) => read(`:r${path}`)),
  read(':r/actions/runs/{id}/logs', {file: true}),
  read(':r/actions/runs/{id}/attempts/{number}/logs', {file: true}),
  read(':r/actions/jobs/{id}/logs', {file: true}),

  write(
    'POST :r/pulls',
    'pr.create',
    {
      title: 'text',
      body: 'text',
      head: 'branch',
      base: 'base',
      draft: 'flag',
      maintainer_can_modify: 'helpers',
    },
    {required: ['title', 'head', 'base']},
  ),
  write(
    'PATCH :r/pulls/{pull_number}',
    'pr.update',
    {title: 'text', body: 'text', state: ['open', 'closed'], base: 'base'},
    {belongs: 'own pull request', needs: {field: 'state', write: 'pr.close'}},
  ),
  write(
    'POST :r/issues/{issue_number}/comments',
    'pr.comment',
    {body: 'text'},
    {belongs: 'conversation', required: ['body']},
  ),
  write(
    'PATCH :r/issues/comments/{comment_id}',
    'pr.comment',
    {body: 'text'},
    {belongs: 'own comment', required: ['body']},
  ),
  write(
    'POST :r/pulls/{pull_number}/comments',
    'pr.review',
    {...files, ...lines, in_reply_to: 'number'},
    {belongs: 'own pull request', required: ['body']},
  ),
  write(
    'POST :r/pulls/{pull_number}/comments/{comment_id}/replies',
    'pr.review',
    {body: 'text'},
    {belongs: 'own pull request', required: ['body']},
  ),
  write(
    'PATCH :r/pulls/comments/{comment_id}',
    'pr.review',
    {body: 'text'},
    {belongs: 'own review comment', required: ['body']},
  ),
  write(
    'POST :r/pulls/{pull_number}/reviews',
    'pr.review',
    {body: 'text', commit_id: 'word', event: 'verdict'},
    {belongs: 'own pull request'},
  ),
  write('POST :r/issues', 'issue.create', {title: 'text', body: 'text'}, {required: ['title']}),
  ...['rerun', 'rerun-failed-jobs', 'cancel'].map((action) =>
    write(`POST :r/actions/runs/{run_id}/${action}`, 'actions.rerun', {}, {belongs: 'own run'}),
  ),
  write('POST :r/actions/jobs/{job_id}/rerun', 'actions.rerun', {}, {belongs: 'own job'}),
]
