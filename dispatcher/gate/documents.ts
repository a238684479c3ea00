import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import type {GitGrant, SignedPart} from '../../policy/grant.js'
import {sha256Hex, verifyPart} from '../../policy/sign.js'
import {writeDurably} from '../../core/durable-file.js'
import {isTaskName, type StoredDocument} from '../socket-api.js'

/** Where documents lie between two starts; what comes back from there is checked like what comes from outside. */
export interface DocumentStore {
  list(): Promise<StoredDocument[]>
  put(task: string, text: string): Promise<void>
  remove(task: string): Promise<void>
}

export interface Document {
  handleSha256: string
  grant: GitGrant
}

export interface DocumentSummary {
  task: string
  revision: number
  repository: string
  branch: string
  /** first 12 hex digits of the handle's SHA-256 */
  handle: string
}

/** What a handle stood for last: a lower revision or a removed document never comes back under it. */
interface Mark {
  task: string
  revision: number
  removed?: true
}

/**
 * The table handle → document. Only what the project's key has signed for this project gets in, and never something
 * older than what was there before: the marks lie where the `git` container cannot write.
 */
export class Documents {
  readonly #publicKey: Buffer
  readonly #project: string
  readonly #store: DocumentStore
  readonly #marksPath: string
  readonly #byHandle = new Map<string, Document>()
  #marks = new Map<string, Mark>()
  #queue: Promise<unknown> = Promise.resolve()

  constructor(publicKey: Buffer, project: string, store: DocumentStore, stateDirectory: string) {
    this.#publicKey = publicKey
    this.#project = project
    this.#store = store
    this.#marksPath = join(stateDirectory, 'marks.json')
  }

  /** Reads everything back. @returns what was refused and why */
  async load(): Promise<{task: string; reason: string}[]> {
    this.#marks = await readMarks(this.#marksPath)
    const refused: {task: string; reason: string}[] = []
    for (const {task, text} of await this.#store.list()) {
      try {
        const document = this.#verify(JSON.parse(text))
        if (document.grant.task !== task) throw refusal('it lies under the name of another task')
        this.#checkMark(document)
        this.#admit(document)
      } catch (error) {
        refused.push({task, reason: messageOf(error)})
      }
    }
    return refused
  }

  /** @param handle as it came over the wire */
  find(handle: string): Document | undefined {
    return this.#byHandle.get(sha256Hex(handle))
  }

  list(): DocumentSummary[] {
    return [...this.#byHandle.values()]
      .map(({handleSha256, grant}) => ({
        task: grant.task,
        revision: grant.revision,
        repository: grant.repository,
        branch: grant.branch,
        handle: handleSha256.slice(0, 12),
      }))
      .sort((a, b) => (a.task < b.task ? -1 : 1))
  }

  /** Checks and keeps one; returns once it is on disk. */
  put(part: unknown): Promise<DocumentSummary> {
    return this.#inTurn(async () => {
      const document = this.#verify(part)
      const {task, revision, repository, branch} = document.grant
      this.#checkMark(document)
      await this.#store.put(task, JSON.stringify(part))
      await this.#mark([
        ...this.#replaced(task, document.handleSha256),
        [document.handleSha256, {task, revision}],
      ])
      this.#admit(document)
      return {task, revision, repository, branch, handle: document.handleSha256.slice(0, 12)}
    })
  }

  /** From here on the task's handle opens nothing. @returns whether there was a document */
  remove(task: string): Promise<boolean> {
    return this.#inTurn(async () => {
      if (!isTaskName(task))
        throw new CageError('not the name of a task', {code: 'TASK_NAME', exitCode: ExitCode.usage})
      const gone = this.#replaced(task, undefined)
      for (const [handle] of gone) this.#byHandle.delete(handle)
      await this.#mark(gone)
      await this.#store.remove(task)
      return gone.length > 0
    })
  }

  #verify(part: unknown): Document {
    const grant = verifyPart(part, this.#publicKey, 'git')
    const {head} = part as SignedPart
    if (grant.project !== this.#project) throw refusal(`it is for project ${grant.project}`)
    if (grant.principal !== 'task') throw refusal('only tasks come through this door')
    if (!isTaskName(grant.task)) throw refusal('its task has no valid name')
    return {handleSha256: head.handleSha256, grant}
  }

  #checkMark({handleSha256, grant}: Document): void {
    const mark = this.#marks.get(handleSha256)
    if (!mark) return
    if (mark.removed) throw refusal('its handle was given up')
    if (grant.task !== mark.task) throw refusal('its handle belongs to another task')
    if (grant.revision < mark.revision)
      throw refusal(`revision ${grant.revision} is older than ${mark.revision}`)
  }

  #admit(document: Document): void {
    for (const [handle] of this.#replaced(document.grant.task, document.handleSha256))
      this.#byHandle.delete(handle)
    this.#byHandle.set(document.handleSha256, document)
  }

  /** Marks for the documents of a task under other handles. */
  #replaced(task: string, handle: string | undefined): [string, Mark][] {
    return [...this.#byHandle.values()]
      .filter((document) => document.grant.task === task && document.handleSha256 !== handle)
      .map((document) => [document.handleSha256, {task, revision: document.grant.revision, removed: true}])
  }

  async #mark(entries: readonly [string, Mark][]): Promise<void> {
    const marks = new Map([...this.#marks, ...entries])
    await writeDurably(this.#marksPath, JSON.stringify(Object.fromEntries(marks)))
    this.#marks = marks
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work)
    this.#queue = result.catch(() => undefined)
    return result
  }
}

async function readMarks(path: string): Promise<Map<string, Mark>> {
  try {
    return new Map(Object.entries(JSON.parse(await readFile(path, 'utf8')) as Record<string, Mark>))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
    throw new CageError(`the revisions seen before cannot be read: ${messageOf(error)}`, {
      code: 'MARKS_UNREADABLE',
      cause: error,
    })
  }
}

function refusal(reason: string): CageError {
  return new CageError(`document refused: ${reason}`, {code: 'DOCUMENT_REFUSED', exitCode: ExitCode.denied})
}
