import {randomBytes} from 'node:crypto'
import {mkdir, readFile} from 'node:fs/promises'
import {availableParallelism} from 'node:os'
import {join} from 'node:path'
import type {Clock} from '../../core/clock.js'
import type {Runner} from '../../core/runner.js'
import {Journal} from '../journal/journal.js'
import {ThreadScanPool, type ScanPool} from '../scan/pool.js'
import {HostedUpstream} from '../upstream/hosted.js'
import {SmartHttpUpstream} from '../upstream/smart-http.js'
import {SocketClient} from '../socket-client.js'
import {OpenIntents} from '../journal/intents.js'
import {GitPrograms} from './children.js'
import {DocumentFiles} from './documents.js'
import {FetchLog} from './fetch-log.js'
import {Forks} from './forks.js'
import {writeDurably} from '../../core/durable-file.js'
import {HeldPushes} from './held.js'
import {IssuedValues} from './issued.js'
import {NamedLocks, Places} from './locks.js'
import {Mirrors} from './mirrors.js'
import {Maintenance} from './maintenance.js'
import {DiskShares} from './shares.js'
import {PushEngine} from './push.js'
import {Quarantine} from './quarantine.js'
import {isMirror, RepositoryStore, type Refs, type Repository} from './repositories.js'

export interface GitServiceOptions {
  /** repositories/, documents/, journal/, quarantine/ lie here */
  volume: string
  /** on which `gate` answers for upstreams */
  gateSocket: string
  runner: Runner
  clock: Clock
  /** module whose thread runs the scan worker */
  scanModule: URL
  log: (text: string) => void
}

/** Everything behind the `git` container's sockets. */
export interface GitService {
  git: GitPrograms
  repositories: RepositoryStore
  mirrors: Mirrors
  documents: DocumentFiles
  journal: Journal
  fetches: FetchLog
  push: PushEngine
  maintenance: Maintenance
  scan: ScanPool
  issued: IssuedValues
  held: HeldPushes
  shares: DiskShares
  forks: Forks
}

/** The scanner counts its own work; one that still took longer than this is broken, also on a busy machine. */
const scanDeadline = (bytes: number) => 30_000 + (bytes / (1024 * 1024)) * 1000

/** Opens the volume, repairs what a crash left, and closes the journal's open intents before anything new begins. */
export async function openGitService({
  volume,
  gateSocket,
  runner,
  clock,
  scanModule,
  log,
}: GitServiceOptions): Promise<GitService> {
  await mkdir(volume, {recursive: true})
  const git = new GitPrograms(runner)
  const quarantineRoot = join(volume, 'quarantine')
  await Quarantine.removeAll(quarantineRoot)
  const repositories = new RepositoryStore(volume, git)
  await repositories.clean()
  const journal = await Journal.open(join(volume, 'journal'), clock)
  const hosted = new HostedUpstream(git, repositories)
  const intents = new OpenIntents(journal)
  await intents.open((name) => hostedRefs(repositories, name))
  const gate = new SocketClient(gateSocket, 'gate')
  const onFresh = (repository: Repository, refs: Refs) => intents.settle(repository.name, refs)
  const forks = new Forks(join(volume, 'forks.json'))
  await forks.load()
  const mirrors = new Mirrors({git, repositories, gate, forks, volume, onFresh, log})
  const remote = new SmartHttpUpstream({git, mirrors, gate, log})
  const scan = new ThreadScanPool({
    module: scanModule,
    threads: Math.min(4, availableParallelism()),
    fingerprintKey: await fingerprintKey(join(volume, 'fingerprint.key')),
    deadline: scanDeadline,
  })
  const issued = new IssuedValues(join(volume, 'issued'), (all) => scan.issue(all))
  await issued.load()
  // The first thread is warm before the first push.
  scan.scan([Buffer.from('warm')]).catch((error: unknown) => log(String(error)))
  const held = new HeldPushes(join(volume, 'held'))
  const shares = new DiskShares(join(volume, 'shares'), log)
  await shares.load()
  const maintenance = new Maintenance(git, log)
  const push = new PushEngine({
    git,
    upstreamOf: (repository) => (isMirror(repository) ? remote : hosted),
    refs: {
      known: async (repository) =>
        isMirror(repository)
          ? mirrors.known(repository)
          : {refs: await repositories.refs(repository), origin: new Map(), behind: false},
      refresh: async (repository) =>
        isMirror(repository)
          ? mirrors.refreshed(repository)
          : {refs: await repositories.refs(repository), origin: new Map()},
    },
    journal,
    scan,
    held,
    shares,
    clock,
    refLocks: new NamedLocks(),
    places: new Places(2 * availableParallelism()),
    quarantineRoot,
    volume,
    log,
    onStored: (repository) => maintenance.note(repository),
  })
  const documents = new DocumentFiles(join(volume, 'documents'))
  const fetches = new FetchLog(journal)
  return {
    git,
    repositories,
    mirrors,
    documents,
    journal,
    fetches,
    push,
    maintenance,
    scan,
    issued,
    held,
    shares,
    forks,
  }
}

/** The refs of a repository of this volume; undefined for what only its upstream can tell. */
async function hostedRefs(repositories: RepositoryStore, name: string): Promise<Refs | undefined> {
  if (name.includes('/')) return undefined
  const repository = await repositories.find(name)
  return repository ? repositories.refs(repository) : new Map()
}

async function fingerprintKey(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const key = randomBytes(32)
    await writeDurably(path, key)
    return key
  }
}
