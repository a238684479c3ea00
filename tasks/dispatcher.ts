import {Readable, type Writable} from 'node:stream'
import type {Clock} from '../core/clock.js'
import {CageError, ExitCode} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import {clusterNames, dispatcherContainer, label, program} from '../core/layout.js'
import {visible} from '../core/quote.js'
import type {SignedPart} from '../policy/grant.js'
import type {Cluster} from '../kube/cluster.js'
import type {Fingerprint} from '../scan/exact.js'
import {BoundedText} from './agent-state.js'

const HEADS = 'refs/heads/'
const MAX_ANSWER = 4 * 1024 * 1024
const DEADLINE_MS = 30_000
/** an account with many forks takes many questions */
const FORK_DEADLINE_MS = 120_000
const NOT_READY_TRIES = 40
const PAUSE_MS = 500

export interface RefList {
  /** short branch name → object id */
  branches: ReadonlyMap<string, string>
  /** short name */
  defaultBranch: string
  /** what tasks can start from: of a fork, the branches of what it was forked from; of all else the same as `branches` */
  bases: ReadonlyMap<string, string>
  /** the bases that the dispatcher knew before it asked the upstream; of a repository of its own the same as `bases` */
  before: ReadonlyMap<string, string>
}

/** What the dispatcher's `gate` keeps in memory, and a new one has to be told again. */
export interface UpstreamSettings {
  upstreams: {
    url: string
    credential?: string
    readOnly: boolean
    address?: string
    port?: number
    ca?: string
  }[]
  /** `address` or `address:port` */
  resolver: string[]
  allowAddresses: string[]
  /** leads to every upstream without an address of its own */
  upstreamProxy?: {address: string; port: number}
  /** of the credentials */
  issued: readonly Fingerprint[]
  /** who the dispatcher is at GitHub, and the operator's ways to its hosts */
  github?: {
    who: {app: number; installation: number; key: string} | {token: string; allowClassic: boolean}
    hosts: {host: string; address: string; port: number; ca?: string}[]
    /** address of the upstream whose fork tasks push to; absent = they push to the upstream */
    forkOf?: string
  }
}

/** A push that waits for a person. Texts are the agent's: escape them before a terminal sees them. */
export interface HeldPush {
  request: string
  task: string
  /** ISO 8601 */
  at: string
  repository: string
  commands: {old: string; new: string; ref: string}[]
  findings: {rule: string; type: string; object: string; path: string; line: number}[]
}

interface DispatcherPod extends KubeObject {
  status?: {conditions?: {type: string; status: string}[]}
}

/** The operator's way into the dispatcher: one JSON request by exec, one JSON answer. */
export class DispatcherControl {
  private readonly cluster: Cluster
  private readonly id: string
  private readonly clock: Clock
  private readonly signal: AbortSignal | undefined
  private readonly upstreams: (() => Promise<UpstreamSettings>) | undefined
  private found: Promise<string> | undefined
  private told: Promise<unknown> | undefined
  private forkUrl: Promise<string> | undefined

  /** @param options.upstreams how to reach what is not on the dispatcher's own volume; absent = nothing is elsewhere */
  constructor(options: {
    cluster: Cluster
    id: string
    clock: Clock
    signal?: AbortSignal | undefined
    upstreams?: (() => Promise<UpstreamSettings>) | undefined
  }) {
    this.cluster = options.cluster
    this.id = options.id
    this.clock = options.clock
    this.signal = options.signal
    this.upstreams = options.upstreams
  }

  /** Ways and credentials to the upstreams, once per command: a gate that was started again has forgotten them. */
  async tellUpstreams(): Promise<void> {
    if (!this.upstreams) return
    this.told ??= this.upstreams().then((settings) => this.call({op: 'upstream.put', ...settings}))
    await this.told
  }

  /** Name of the pod that answers. Errors: DISPATCHER_NOT_READY, exit 3. */
  pod(): Promise<string> {
    this.found ??= this.findPod()
    this.found.catch(() => (this.found = undefined))
    return this.found
  }

  /** @param issued of the values that the task's sidecar gets: no push may contain one */
  async putDocument(part: SignedPart, issued: readonly Fingerprint[]): Promise<void> {
    await this.tellUpstreams()
    await this.call({op: 'document.put', part, issued})
  }

  async removeDocument(task: string): Promise<void> {
    await this.call({op: 'document.remove', task})
  }

  /** @param deadlineMs the first look at a large upstream copies its history */
  async refs(repository: string, deadlineMs = DEADLINE_MS): Promise<RefList> {
    await this.tellUpstreams()
    return parseRefs(await this.call({op: 'refs', repository}, deadlineMs))
  }

  /** Address of the fork that tasks push to, which has to exist. Errors: FORK_MISSING, FORK_AMBIGUOUS, exit 3. */
  async fork(): Promise<string> {
    this.forkUrl ??= this.tellUpstreams().then(async () => {
      const {url} = (await this.call({op: 'fork'}, FORK_DEADLINE_MS)) as {url?: unknown}
      if (typeof url === 'string') return url
      throw new CageError("the dispatcher's answer about the fork cannot be read", {
        code: 'DISPATCHER_ANSWER',
      })
    })
    return this.forkUrl
  }

  async initRepository(repository: string, defaultBranch: string): Promise<void> {
    await this.call({op: 'repository.init', repository, defaultBranch})
  }

  /** False where its pod does not take a question yet, whatever it counts as. */
  async answers(): Promise<boolean> {
    try {
      await this.held()
      return true
    } catch {
      this.signal?.throwIfAborted()
      return false
    }
  }

  /** The pushes that wait for a person, of all tasks. */
  async held(): Promise<HeldPush[]> {
    const {held} = (await this.call({op: 'held.list'})) as {held?: unknown}
    if (!Array.isArray(held))
      throw new CageError("the dispatcher's answer about held pushes cannot be read", {
        code: 'DISPATCHER_ANSWER',
      })
    return held as HeldPush[]
  }

  /** @param request of the push that the person looked at: another one is refused */
  async decideHeld(task: string, request: string, approve: boolean): Promise<void> {
    await this.call({op: 'held.decide', task, request, approve})
  }

  /** JSON lines of the journal as they are. */
  async audit(
    query: {since?: string; task?: string; follow?: boolean},
    out: Writable,
    signal?: AbortSignal,
  ): Promise<void> {
    const stderr = new BoundedText(4096)
    const code = await this.exec({op: 'audit', ...query}, out, stderr, signal)
    if (code !== 0) throw refused('audit', '', stderr.text)
  }

  private async call(
    request: {op: string} & Record<string, unknown>,
    deadlineMs = DEADLINE_MS,
  ): Promise<unknown> {
    const stdout = new BoundedText(MAX_ANSWER)
    const stderr = new BoundedText(4096)
    const late = AbortSignal.timeout(deadlineMs)
    const signal = this.signal ? AbortSignal.any([this.signal, late]) : late
    const code = await this.exec(request, stdout, stderr, signal)
    if (code !== 0) throw refused(request.op, stdout.text, stderr.text)
    return parseAnswer(request.op, stdout.text)
  }

  private async exec(
    request: Record<string, unknown>,
    stdout: Writable,
    stderr: Writable,
    signal?: AbortSignal,
  ): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.cluster.exec({
          namespace: clusterNames.dispatcherNamespace(this.id),
          pod: await this.pod(),
          container: dispatcherContainer.gate,
          argv: ['node', program.dispatcher, 'control'],
          stdin: Readable.from([Buffer.from(`${JSON.stringify(request)}\n`)]),
          stdout,
          stderr,
          ...(signal ? {signal} : {}),
        })
      } catch (error) {
        // Right after the start of a node its pods still count as ready, as they were when it stopped.
        if (attempt === NOT_READY_TRIES || !isNotStarted(error)) throw error
        this.found = undefined
        await this.clock.sleep(PAUSE_MS, signal)
      }
    }
  }

  private async findPod(): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      const pods = await this.cluster.list<DispatcherPod>({
        apiVersion: 'v1',
        kind: 'Pod',
        namespace: clusterNames.dispatcherNamespace(this.id),
        labelSelector: `${label.component}=dispatcher`,
        ...(this.signal ? {signal: this.signal} : {}),
      })
      const ready = pods.find(
        ({metadata, status}) =>
          metadata.deletionTimestamp === undefined &&
          status?.conditions?.some(({type, status: is}) => type === 'Ready' && is === 'True'),
      )
      if (ready) return ready.metadata.name
      // A dispatcher that was killed is back within seconds.
      if (attempt === NOT_READY_TRIES || pods.length === 0) {
        throw new CageError('the dispatcher of this project is not running', {
          code: 'DISPATCHER_NOT_READY',
          exitCode: ExitCode.precondition,
          hints: ['Run `cage up`; it repairs what is broken.'],
        })
      }
      await this.clock.sleep(PAUSE_MS, this.signal)
    }
  }
}

/** Nothing ran, so it may be asked again. */
function isNotStarted(error: unknown): boolean {
  return error instanceof CageError && error.code === 'EXEC_NOT_STARTED'
}

function parseAnswer(op: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    throw new CageError(`the dispatcher's answer to ${op} cannot be read`, {code: 'DISPATCHER_ANSWER', cause})
  }
}

/** `{head: 'refs/heads/main', refs: {'refs/heads/main': oid, …}}`, of a fork with the same of its origin */
function parseRefs(answer: unknown): RefList {
  const {refs, origin} = answer as {refs?: unknown; origin?: unknown}
  const {head, refs: starts, before} = (origin ?? answer) as Record<'head' | 'refs' | 'before', unknown>
  if (typeof head !== 'string' || !isObject(refs) || !isObject(starts))
    throw new CageError("the dispatcher's answer to refs cannot be read", {code: 'DISPATCHER_ANSWER'})
  const bases = branchesIn(starts)
  return {
    branches: branchesIn(refs),
    bases,
    defaultBranch: head.startsWith(HEADS) ? head.slice(HEADS.length) : head,
    before: isObject(before) ? branchesIn(before) : bases,
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function branchesIn(refs: object): Map<string, string> {
  return new Map(
    Object.entries(refs as Record<string, string>)
      .filter(([ref]) => ref.startsWith(HEADS))
      .map(([ref, oid]): [string, string] => [ref.slice(HEADS.length), oid]),
  )
}

/** The dispatcher's own words: `{"error": {code, message}}`, else what it wrote to stderr. */
function refused(op: string, stdout: string, stderr: string): CageError {
  let said = stderr.trim()
  try {
    const {error} = JSON.parse(stdout) as {error?: {code?: unknown; message?: unknown; hints?: unknown}}
    if (typeof error?.message === 'string') said = error.message
    // What is missing at GitHub is a person's to make.
    if (typeof error?.code === 'string' && error.code.startsWith('FORK_'))
      return new CageError(visible(said), {
        code: error.code,
        exitCode: ExitCode.precondition,
        hints: Array.isArray(error.hints) ? error.hints.map((hint) => visible(String(hint))) : [],
      })
  } catch {
    // no JSON: stderr has it
  }
  return new CageError(`the dispatcher refused ${op}: ${visible(said) || 'no reason given'}`, {
    code: 'DISPATCHER_REFUSED',
  })
}
