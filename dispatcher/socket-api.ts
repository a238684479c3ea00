import {repositoryUnder} from '../policy/repository-name.js'

/**
 * What `gate` asks of `git`: HTTP over the Unix socket that the two containers share.
 *
 *     GET    /repository/NAME/info/refs?service=S     advertisement
 *     POST   /repository/NAME/git-upload-pack         one fetch request
 *     POST   /repository/NAME/git-receive-pack        one push
 *     GET    /repository/NAME/refs                    RefsAnswer
 *     PUT    /repository/NAME                         InitRequest → InitAnswer
 *     GET    /documents                               StoredDocument[]
 *     PUT    /documents/TASK                          text of a signed part
 *     DELETE /documents/TASK
 *     PUT    /issued/TASK                             Fingerprint[] of the values of its sidecar
 *     DELETE /issued/TASK
 *     GET    /held                                    HeldPush[]
 *     POST   /held/TASK                               HeldDecision → HeldPush
 *     DELETE /held/TASK
 *     DELETE /shares/TASK                             what a task that is gone has stored
 *     PUT    /forks/NAME                              ForkRequest: what NAME is a fork of
 *     GET    /journal?since=&task=&follow=1           JSON lines
 *     POST   /journal                                 a record of gate's own
 *     POST   /repository/NAME/fetched                 gate has answered a fetch itself: for the journal
 *     POST   /scan                                    ScanRequest → ScanAnswer
 *     GET    /health
 *
 * What `git`, which has no network, asks of `gate` over the other one:
 *
 *     GET    /upstream/NAME/info/refs?service=S       as the upstream answers it
 *     POST   /upstream/NAME/git-upload-pack           as the upstream answers it
 *     POST   /upstream/NAME/git-receive-pack          a pack that was built here, its commands in a header
 *
 * The first three carry the grant in a header: `gate` has checked its signature and that the handle stands for it.
 */

/** Served by `git`, for `gate`. */
export const gitSocket = (run: string): string => `${run}/git.sock`

/** Served by `git`, for the person's own git: on the volume, which `gate` does not mount. */
export const operatorSocket = (volume: string): string => `${volume}/operator/operator.sock`

/** Served by `gate`, for `git`. */
export const gateSocket = (run: string): string => `${run}/gate.sock`

/** base64 of the JSON text of a GitGrant */
export const grantHeader = 'x-cage-grant'
/** the request's name in messages and in the journal */
export const requestHeader = 'x-cage-request'

/** base64 of the JSON text of UpstreamCommands */
export const commandsHeader = 'x-cage-commands'

/** What a regenerated pack is for; `capabilities` are those of the upstream that git wants to use. */
export interface UpstreamCommands {
  commands: {old: string; new: string; ref: string}[]
  capabilities: string[]
}

export type GitService = 'git-upload-pack' | 'git-receive-pack'

export interface StoredDocument {
  task: string
  /** JSON text of a SignedPart, as it was put; nobody has checked it since */
  text: string
}

export interface RefsAnswer {
  repository: string
  /** full name of the default branch */
  head: string
  refs: Record<string, string>
  /** of a copy of an upstream: its refs before it was asked */
  before?: Record<string, string>
  /** of a fork: the same of what it was forked from */
  origin?: {head: string; refs: Record<string, string>; before: Record<string, string>}
}

export interface ForkRequest {
  /** name of the repository that it was forked from */
  of: string
}

/** Texts that would be shown to others. */
export interface ScanRequest {
  texts: string[]
}

/** By text, what was found in it; nothing of the texts themselves. */
export type ScanAnswer = {rule: string; line: number}[][]

export interface InitRequest {
  defaultBranch: string
  objectFormat?: 'sha1' | 'sha256'
}

export interface InitAnswer {
  repository: string
  created: boolean
}

/** A push that waits for a person: names, ids and keyed hashes, no value. */
export interface HeldPush {
  request: string
  task: string
  /** ISO 8601 */
  at: string
  repository: string
  commands: {old: string; new: string; ref: string}[]
  findings: {rule: string; type: string; object: string; path: string; line: number; fingerprint: string}[]
}

/** The person's word on the push of this request. */
export interface HeldDecision {
  request: string
  approve: boolean
}

export interface ErrorAnswer {
  error: {code: string; message: string; hints: readonly string[]}
}

/** The one spelling of a repository's name, or undefined; never a path. */
export function repositoryName(text: string): string | undefined {
  const name = text.replace(/^\//, '').replace(/(?:\.git)?$/, '.git')
  return /^[a-z0-9][a-z0-9._-]{0,63}\.git$/.test(name) && !name.includes('..') ? name : undefined
}

/** `shop.git` of this volume, or `host/path.git` of an upstream. */
export function knownName(text: string): string | undefined {
  const slash = text.indexOf('/')
  return slash > 0 ? repositoryUnder(text.slice(0, slash), text.slice(slash)) : repositoryName(text)
}

/** A task's name as part of a file name. */
export function isTaskName(text: string): boolean {
  return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text)
}

/** Responses to git must never be kept by anything in between. */
export const uncached = {
  'cache-control': 'no-cache, max-age=0, must-revalidate',
  expires: 'Fri, 01 Jan 1980 00:00:00 GMT',
  pragma: 'no-cache',
} as const
