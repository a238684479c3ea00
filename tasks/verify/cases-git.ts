import {gitHost} from '../../core/layout.js'
import type {GitGrant} from '../../policy/grant.js'
import {compilePathRules} from '../../policy/decide-git.js'
import {githubRepository} from '../../policy/github-repository.js'
import type {Attack} from './cases.js'

/** What the throwaway task is allowed, and what names of this run alone are made from. */
export interface GitTargets {
  grant: GitGrant
  /** URL of the repository that the task pushes to */
  url: string
  /** hex, of this run */
  nonce: string
  /** hex digits of an object id here */
  idLength: number
}

/** Without an object, with the checksum that git wants: enough where names are judged before a pack is read. */
const EMPTY_PACK =
  'PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e'
const API = 'api.github.com'
const NOT_OWN = /ng refs\/heads\/\S+ not the branch of this task/
const NOT_A_BRANCH = /ng \S+ (?:only branches and tags can be pushed|malformed ref name)/
const NOT_HERE = /^answered: HTTP\/1\.1 4\d\d |ERR cage: [^\n]*/

/**
 * Straight at the dispatcher, by way of the sidecar. Every command names an old commit that no ref has, so that none could
 * be carried out by any server: the reason of the refusal says who refused.
 */
export function gitRequests({grant, url, nonce, idLength}: GitTargets): Attack[] {
  const {host, pathname} = new URL(url)
  const path = pathname.replace(/\/$/, '')
  const [zero, old, next] = ['0', '1', '2'].map((digit) => digit.repeat(idLength)) as [string, string, string]
  const own = `refs/heads/${grant.branch}`
  const base = `refs/heads/${grant.base}`
  const other = `refs/heads/cage-verify-other-${nonce}`
  const get = (at: string): Attack['do'] => [
    'https',
    host,
    443,
    host,
    `GET ${at} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
  ]
  const push = (lines: readonly string[], at = path, capabilities = 'report-status'): Attack['do'] => {
    const [first = '', ...rest] = lines
    const body = `${[`${first}\0${capabilities}`, ...rest].map(packet).join('')}0000${EMPTY_PACK}`
    const type = 'Content-Type: application/x-git-receive-pack-request'
    const head = `POST ${at}/git-receive-pack HTTP/1.1\r\nHost: ${host}\r\n${type}\r\nContent-Length: ${body.length}`
    return ['https', host, 443, host, `${head}\r\nConnection: close\r\n\r\n${body}`]
  }
  const update = (ref: string) => `${old} ${next} ${ref}`
  const refused = (id: string, attack: string, verdict: RegExp, act: Attack['do']) =>
    attackOf(id, attack, 'refused by name', verdict, act)
  const elsewhere = `${path.replace(/\.git$/, '')}-cage-verify-${nonce}.git`
  return [
    attackOf(
      'CONTROL-git.push',
      'the task’s own branch, by the same requests',
      'its name is no reason to refuse',
      /ng \S+ (?:deleting a branch is not granted|fetch first)/,
      push([`${old} ${zero} ${own}`]),
    ),
    attackOf(
      'CONTROL-git.fetch',
      'the branches of the task’s repository',
      'are listed',
      /^answered: HTTP\/1\.1 200 (?!.*ERR cage: )/s,
      get(`${path}/info/refs?service=git-upload-pack`),
    ),
    refused('GIT-1.base', `push to ${grant.base}, also by force`, NOT_OWN, push([update(base)])),
    refused('GIT-1.other', 'push to the branch of another', NOT_OWN, push([update(other)])),
    refused(
      'GIT-2',
      `push to the own branch and ${grant.base} at once`,
      NOT_OWN,
      push([update(own), update(base)]),
    ),
    refused('GIT-3.base', `delete ${grant.base}`, NOT_OWN, push([`${old} ${zero} ${base}`])),
    refused('GIT-3.other', 'delete the branch of another', NOT_OWN, push([`${old} ${zero} ${other}`])),
    refused(
      'GIT-9.tag',
      'push a tag',
      /ng \S+ tags are not granted/,
      push([update(`refs/tags/cage-verify-${nonce}`)]),
    ),
    ...['refs/notes/commits', `refs/replace/${old}`, 'refs/pull/1/head', 'refs/for/main', 'HEAD'].map((ref) =>
      refused(
        `GIT-9.${ref.split('/')[1] ?? ref}`,
        `push to ${ref.slice(0, 30)}`,
        NOT_A_BRANCH,
        push([update(ref)]),
      ),
    ),
    refused('GIT-10.below', 'push to a branch below the own one', NOT_OWN, push([update(`${own}/x`)])),
    refused(
      'GIT-10.case',
      'push to the own branch in capitals',
      NOT_OWN,
      push([update(`refs/heads/${grant.branch.toUpperCase()}`)]),
    ),
    refused(
      'GIT-12.nul',
      `hide ${grant.base} behind NUL`,
      /unpack malformed command/,
      push([update(own), `${update(own)}\0 ${base}`]),
    ),
    refused(
      'GIT-12.certificate',
      'hide commands in a certificate',
      /unpack signed pushes are not supported/,
      push(['push-cert']),
    ),
    refused(
      'GIT-12.option',
      'a capability that was not offered',
      /unpack the client asks for a capability/,
      push([update(own)], path, 'report-status push-options'),
    ),
    refused(
      'GIT-16.fetch',
      'fetch from another repository',
      NOT_HERE,
      get(`${elsewhere}/info/refs?service=git-upload-pack`),
    ),
    refused('GIT-16.push', 'push to another repository', NOT_HERE, push([update(own)], elsewhere)),
    ...['/..', '/%2e%2e', '//.'].map((detour, index) =>
      refused(
        `GIT-17.${index + 1}`,
        `another repository by a detour with ${detour}`,
        NOT_HERE,
        get(`${path}${detour}${elsewhere}/info/refs?service=git-upload-pack`),
      ),
    ),
    attackOf(
      'ID-3',
      'a handle of one’s own choice',
      'whoever shows it stays who he is',
      new RegExp(`^answered: HTTP/1\\.1 (?:4\\d\\d |200 .*"task":"${grant.task}")`, 's'),
      [
        'https',
        gitHost,
        443,
        gitHost,
        `GET /ready HTTP/1.1\r\nHost: ${gitHost}\r\nx-cage-handle: cgt_${nonce.repeat(4)}\r\nConnection: close\r\n\r\n`,
      ],
    ),
    ...githubRequests(grant, nonce),
  ]
}

/** GitHub itself would refuse each of them as well, for naming what is not there. */
function githubRequests(grant: GitGrant, nonce: string): Attack[] {
  const own = grant.github && githubRepository(grant.upstream)
  if (!own) return []
  const ask = (method: string, path: string, body?: object): Attack['do'] => {
    const text = body === undefined ? '' : JSON.stringify(body)
    const head = `${method} ${path} HTTP/1.1\r\nHost: ${API}\r\nUser-Agent: cage-verify\r\nContent-Type: application/json`
    return [
      'https',
      API,
      443,
      API,
      `${head}\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
    ]
  }
  const denied = (id: string, attack: string, act: Attack['do']) =>
    attackOf(`API-${id}`, attack, 'denied by cage', /^answered: HTTP\/1\.1 \d{3} .*"cage: /s, act)
  const here = `/repos/${own.owner}/${own.name}`
  const ref = `refs/heads/cage-verify-${nonce}`
  return [
    attackOf(
      'CONTROL-api',
      'GitHub’s API, the task’s own repository',
      'answers 200',
      /^answered: HTTP\/1\.1 200 (?!.*"cage: )/s,
      ask('GET', here),
    ),
    denied('merge', 'merge a pull request', ask('PUT', `${here}/pulls/999999999/merge`, {})),
    denied('ref', 'make a branch by the API', ask('POST', `${here}/git/refs`, {ref, sha: '1'.repeat(40)})),
    denied('secrets', 'list the repository’s secrets', ask('GET', `${here}/actions/secrets`)),
    denied('other', 'read another repository', ask('GET', `/repos/${own.owner}/${own.name}-${nonce}`)),
    denied(
      'graphql',
      'merge a pull request by GraphQL',
      ask('POST', '/graphql', {
        query: `mutation {mergePullRequest(input: {pullRequestId: "PR_${nonce}"}) {clientMutationId}}`,
      }),
    ),
  ]
}

/**
 * Real commits, pushed by real git to the task's own branch, each refused for what is in it. Only what the policy forbids
 * here. To be tried after everything else: the secret would be found by the search for one.
 */
export function gitPushes({grant, nonce}: GitTargets): Attack[] {
  const secret = `cgt_${nonce.repeat(4)}`
  const refused = (id: string, attack: string, verdict: RegExp, commits: string): Attack =>
    attackOf(id, attack, 'the push is refused', verdict, [
      'shell',
      `${START} && ${commits} && ${pushOf(grant)}`,
    ])
  const found = /\[remote rejected\] \((?:secret found|held)[^)]*\)/
  const isCiDenied = compilePathRules(grant)({path: CI_FILE, mode: '100644'}).effect === 'deny'
  const afterwards = 'c=$(echo later | git commit-tree "HEAD^{tree}" -p $c)'
  return [
    ...(grant.secrets.onFinding === 'warn'
      ? []
      : [
          refused('GIT-14.file', 'push a secret in a file', found, commitOf('verify.txt', secret)),
          refused(
            'GIT-14.older',
            'push a secret in an older commit, taken back since',
            found,
            `${commitOf('verify.txt', secret)} && ${afterwards}`,
          ),
          refused(
            'GIT-14.message',
            'push a secret in a message',
            found,
            `c=$(echo ${secret} | git commit-tree "HEAD^{tree}" -p HEAD)`,
          ),
        ]),
    ...(isCiDenied
      ? [
          refused(
            'GIT-13',
            `push ${CI_FILE}`,
            /\[remote rejected\] \(this path may not be changed[^)]*\)/,
            commitOf(CI_FILE, 'on: push'),
          ),
        ]
      : []),
  ]
}

/** What must work at the end. Nothing is left at an upstream of others: there git only asks. */
export function pushControl({grant}: GitTargets): Attack {
  const commit = 'c=$(echo verify | git commit-tree "HEAD^{tree}" -p HEAD)'
  return grant.upstream.kind === 'hosted'
    ? attackOf('CONTROL-git.content', 'a harmless commit on the own branch', 'is pushed', /^0 /, [
        'shell',
        `${START} && ${commit} && ${pushOf(grant)}`,
      ])
    : attackOf('CONTROL-git.content', 'git push --dry-run of the own branch', 'is offered', /^0 /, [
        'shell',
        `${START} && ${commit} && ${pushOf(grant, '--dry-run')}`,
      ])
}

const CI_FILE = '.github/workflows/cage-verify.yml'
/** an index of its own: the clone stays as it is */
const START = 'cd "$HOME/$CAGE_PROJECT" && export GIT_INDEX_FILE="$(mktemp -u)" && git read-tree HEAD'
const commitOf = (path: string, text: string) =>
  `c=$(echo '${text}' | git hash-object -w --stdin) && git update-index --add --cacheinfo "100644,$c,${path}" && c=$(echo verify | git commit-tree "$(git write-tree)" -p HEAD)`
const pushOf = ({branch}: GitGrant, ...options: string[]) =>
  ['git push --porcelain', ...options, `origin "$c:refs/heads/${branch}"`].join(' ')

function attackOf(id: string, attack: string, expect: string, verdict: RegExp, act: Attack['do']): Attack {
  return {id, class: id.split('-')[0] ?? id, where: 'task', attack, expect, verdict, do: act}
}

function packet(text: string): string {
  return `${(Buffer.byteLength(text, 'latin1') + 4).toString(16).padStart(4, '0')}${text}`
}
