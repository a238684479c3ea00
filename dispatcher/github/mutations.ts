import type {GithubWrite} from '../../policy/grant.js'
import type {Fields} from './fields.js'

/** What the node behind an id of a mutation's input must be. */
export type NodeRule =
  | 'repository'
  | 'own pull request'
  /** the same, or an issue of the repository */
  | 'conversation'
  /** written by the dispatcher's identity, in the task's own pull request or in an issue of the repository */
  | 'own comment'
  | 'own review comment'
  /** a review of the task's own pull request, written by the dispatcher's identity */
  | 'own review'
  /** a thread in the task's own pull request */
  | 'own thread'

export interface MutationRule {
  write: GithubWrite
  /** ids in the input; at least one of them must be there */
  ids: Readonly<Record<string, NodeRule>>
  fields: Fields
  required?: readonly string[]
  /** a field that needs a right of its own */
  needs?: {field: string; write: GithubWrite}
}

const text = {body: 'text'} as const
const pull = {pullRequestId: 'own pull request'} as const
const place = {
  path: 'word',
  line: 'number',
  side: ['LEFT', 'RIGHT'],
  startLine: 'number',
  startSide: ['LEFT', 'RIGHT'],
  subjectType: ['LINE', 'FILE'],
} as const

/** The mutations that a task may send. Everything else is denied. */
export const mutations: Readonly<Record<string, MutationRule>> = {
  createPullRequest: {
    write: 'pr.create',
    ids: {repositoryId: 'repository'},
    fields: {
      title: 'text',
      body: 'text',
      headRefName: 'branch',
      baseRefName: 'base',
      draft: 'flag',
      maintainerCanModify: 'helpers',
    },
    required: ['title', 'headRefName', 'baseRefName'],
  },
  updatePullRequest: {
    write: 'pr.update',
    ids: pull,
    fields: {title: 'text', body: 'text', baseRefName: 'base', state: ['OPEN', 'CLOSED']},
    needs: {field: 'state', write: 'pr.close'},
  },
  markPullRequestReadyForReview: {write: 'pr.update', ids: pull, fields: {}},
  convertPullRequestToDraft: {write: 'pr.update', ids: pull, fields: {}},
  closePullRequest: {write: 'pr.close', ids: pull, fields: {}},
  reopenPullRequest: {write: 'pr.close', ids: pull, fields: {}},
  addComment: {write: 'pr.comment', ids: {subjectId: 'conversation'}, fields: text, required: ['body']},
  updateIssueComment: {write: 'pr.comment', ids: {id: 'own comment'}, fields: text, required: ['body']},
  addPullRequestReview: {
    write: 'pr.review',
    ids: pull,
    fields: {...text, commitOID: 'word', event: 'verdict'},
  },
  submitPullRequestReview: {
    write: 'pr.review',
    ids: {...pull, pullRequestReviewId: 'own review'},
    fields: {...text, event: 'verdict'},
    required: ['event'],
  },
  addPullRequestReviewThread: {
    write: 'pr.review',
    ids: {...pull, pullRequestReviewId: 'own review'},
    fields: {...text, ...place},
    required: ['body'],
  },
  addPullRequestReviewThreadReply: {
    write: 'pr.review',
    ids: {pullRequestReviewThreadId: 'own thread', pullRequestReviewId: 'own review'},
    fields: text,
    required: ['body'],
  },
  updatePullRequestReviewComment: {
    write: 'pr.review',
    ids: {pullRequestReviewCommentId: 'own review comment'},
    fields: text,
    required: ['body'],
  },
  createIssue: {
    write: 'issue.create',
    ids: {repositoryId: 'repository'},
    fields: {title: 'text', body: 'text'},
    required: ['title'],
  },
}
