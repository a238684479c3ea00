import {execFileSync} from 'node:child_process'
import {mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

/** Temporary repositories with an environment in which nothing of the computer's own git settings counts. */
export class GitSandbox {
  readonly folder = mkdtempSync(join(tmpdir(), 'cage-git-test-'))
  readonly env: Record<string, string> = {
    PATH: process.env['PATH'] ?? '',
    HOME: this.folder,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_NAME: 'A Person',
    GIT_AUTHOR_EMAIL: 'person@shop.invalid',
    GIT_COMMITTER_NAME: 'A Person',
    GIT_COMMITTER_EMAIL: 'person@shop.invalid',
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  git(where: string, ...args: string[]): string {
    return this.gitWith(where, {}, ...args)
  }

  gitWith(
    where: string,
    options: {input?: string | Buffer; env?: Record<string, string>},
    ...args: string[]
  ): string {
    return execFileSync('git', ['-C', this.path(where), ...args], {
      env: {...this.env, ...options.env},
      input: options.input ?? '',
      stdio: ['pipe', 'pipe', 'pipe'],
    })
      .toString()
      .trim()
  }

  /** an empty repository on branch main */
  init(name: string, ...args: string[]): string {
    execFileSync('git', ['init', '-q', '-b', 'main', ...args, this.path(name)], {env: this.env})
    return this.path(name)
  }

  /** an object of these bytes; returns its id */
  blob(where: string, content: string | Buffer): string {
    return this.gitWith(where, {input: content}, 'hash-object', '-w', '--stdin')
  }

  /** a commit from parts: tree entries as text for mktree, any parents, any message and author; returns its id */
  commitOf(
    where: string,
    entries: readonly string[],
    parents: readonly string[],
    {message = 'made', author = 'A Person'}: {message?: string; author?: string} = {},
  ): string {
    const tree = this.gitWith(where, {input: `${entries.join('\n')}\n`}, 'mktree', '--missing')
    const env = {GIT_AUTHOR_NAME: author}
    const ancestry = parents.flatMap((id) => ['-p', id])
    return this.gitWith(where, {env}, 'commit-tree', tree, '-m', message, ...ancestry)
  }

  /** a commit without a work tree that changes one file of the branch; returns its id */
  commit(where: string, branch: string, file: string, content: string): string {
    const blob = this.blob(where, content)
    let parent: string | undefined
    try {
      parent = this.git(where, 'rev-parse', '-q', '--verify', `refs/heads/${branch}`)
    } catch {
      parent = undefined
    }
    const env = {GIT_INDEX_FILE: this.path('index.tmp')}
    this.gitWith(where, {env}, 'read-tree', ...(parent === undefined ? ['--empty'] : [parent]))
    this.gitWith(where, {env}, 'update-index', '--add', '--cacheinfo', `100644,${blob},${file}`)
    const tree = this.gitWith(where, {env}, 'write-tree')
    const commit = this.git(
      where,
      'commit-tree',
      tree,
      '-m',
      `change ${file}`,
      ...(parent === undefined ? [] : ['-p', parent]),
    )
    this.git(where, 'update-ref', `refs/heads/${branch}`, commit)
    return commit
  }

  remove(): void {
    rmSync(this.folder, {force: true, recursive: true})
  }
}
