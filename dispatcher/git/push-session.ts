import type {Writable} from 'node:stream'
import type {Clock} from '../../core/clock.js'
import {compilePathRules} from '../../policy/decide-git.js'
import type {GitGrant} from '../../policy/grant.js'
import type {Journal} from '../journal/journal.js'
import type {ScanPool} from '../scan/pool.js'
import type {Upstream} from '../upstream/upstream.js'
import type {PacketReader} from '../wire/pkt-line.js'
import type {GitPrograms} from './children.js'
import type {InspectionRules} from './inspect.js'
import type {NamedLocks, Places} from './locks.js'
import type {HeldPushes} from './held.js'
import type {DiskShares} from './shares.js'
import type {Known} from './mirrors.js'
import type {Repository} from './repositories.js'

/** The person's own history is scanned for a while, to warn; seeding thousands of commits must not wait for it. */
const OPERATOR_SCAN = {milliseconds: 8000, blobBytes: 4 * 1024 * 1024}

/** One push by one principal, from the first byte after the advertisement. */
export interface PushSession {
  request: string
  grant: GitGrant
  repository: Repository
  input: PacketReader
  output: Writable
  /** one connection for the whole push: the answer may come before the request ends */
  stateful: boolean
  /** fires when the client is gone */
  signal: AbortSignal
  /** refs that belong to a task, for the operator's information */
  taskRefs: ReadonlyMap<string, string>
}

/** The refs against which a push is judged. */
export interface KnownRefs {
  /** `behind`: a copy of an upstream that has moved on since; its objects are not here */
  known: (repository: Repository) => Promise<Known & {behind: boolean}>
  /** asks the upstream of a copy, and fetches what is new; the same again for a repository of this volume */
  refresh: (repository: Repository) => Promise<Known>
}

export interface PushEngineParts {
  git: GitPrograms
  /** where the commits of a repository go */
  upstreamOf: (repository: Repository) => Upstream
  refs: KnownRefs
  journal: Journal
  scan: ScanPool
  held: HeldPushes
  shares: DiskShares
  clock: Clock
  refLocks: NamedLocks
  /** for looking into what has arrived */
  places: Places
  quarantineRoot: string
  volume: string
  /** something that a person should find in the log */
  log: (text: string) => void
  onStored: (repository: Repository) => void
}

/** How far the objects of a push are looked into: everything for a task, what a warning needs for the operator. */
export function inspectionRules(grant: GitGrant): InspectionRules {
  const {objects, commits, blobBytes} = grant.push.limits
  if (grant.principal === 'operator') return {objects, commits, blobBytes, scan: OPERATOR_SCAN}
  return {objects, commits, blobBytes, scan: 'all', decidePath: compilePathRules(grant)}
}
