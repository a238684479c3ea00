import {randomBytes} from 'node:crypto'
import {mkdir, readFile} from 'node:fs/promises'
import {availableParallelism} from 'node:os'
import {join} from 'node:path'
import type {Clock} from '../../core/clock.js'
import type {Runner} from '../../core/runner.js'
import {Journal} from '../journal/journal.js'
import {ThreadScanPool, type ScanPool} from '../scan/pool.js'
import {HostedUpstream} from '../upstream/hosted.js'
import type {Upstream} from '../upstream/upstream.js'
import type {RefCommand} from '../wire/receive-request.js'
import {GitPrograms} from './children.js'
import {DocumentFiles} from './documents.js'
import {FetchLog} from './fetch-log.js'
import {writeDurably} from '../../core/durable-file.js'
import {NamedLocks, Places} from './locks.js'
import {Maintenance} from './maintenance.js'
import {PushEngine} from './push.js'
import {Quarantine} from './quarantine.js'
import {RepositoryStore} from './repositories.js'

export interface GitServiceOptions {
  /** repositories/, documents/, journal/, quarantine/ lie here */
  volume: string
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
  documents: DocumentFiles
  journal: Journal
  fetches: FetchLog
  push: PushEngine
  maintenance: Maintenance
  scan: ScanPool
}

/** The scanner counts its own work; one that still took longer than this is broken, also on a busy machine. */
const scanDeadline = (bytes: number) => 30_000 + (bytes / (1024 * 1024)) * 1000

/** Opens the volume, repairs what a crash left, and closes the journal's open intents before anything new begins. */
export async function openGitService({
  volume,
  runner,
  clock,
  scanModule,
  log,
}: GitServiceOptions): Promise<GitService> {
  await mkdir(volume, {recursive: true})
  const git = new GitPrograms(runner)
  const quarantineRoot = join(volume, 'quarantine')
  await Quarantine.removeAll(quarantineRoot)
  const repositories = new RepositoryStore(join(volume, 'repositories'), git)
  await repositories.clean()
  const journal = await Journal.open(join(volume, 'journal'), clock)
  const upstream = new HostedUpstream(git, repositories)
  await closeIntents(journal, repositories, upstream)
  await journal.append({phase: 'event', op: 'start'})
  const scan = new ThreadScanPool({
    module: scanModule,
    threads: Math.min(4, availableParallelism()),
    fingerprintKey: await fingerprintKey(join(volume, 'fingerprint.key')),
    deadline: scanDeadline,
  })
  // The first thread is warm before the first push.
  scan.scan([Buffer.from('warm')]).catch((error: unknown) => log(String(error)))
  const maintenance = new Maintenance(git, log)
  const push = new PushEngine({
    git,
    repositories,
    upstream,
    journal,
    scan,
    clock,
    refLocks: new NamedLocks(),
    places: new Places(2 * availableParallelism()),
    quarantineRoot,
    volume,
    log,
    onStored: (repository) => maintenance.note(repository),
  })
  const documents = new DocumentFiles(join(volume, 'documents'))
  return {git, repositories, documents, journal, fetches: new FetchLog(journal), push, maintenance, scan}
}

/** A push whose outcome was never recorded: the refs themselves say what became of it. */
async function closeIntents(
  journal: Journal,
  repositories: RepositoryStore,
  upstream: Upstream,
): Promise<void> {
  for (const intent of await journal.openIntents()) {
    const repository = await repositories.find(String(intent['repository']))
    const commands = intent['commands'] as RefCommand[]
    const refs = repository
      ? await upstream.settle(repository, commands)
      : commands.map(({ref}) => ({ref, state: 'unknown' as const, reason: 'the repository is gone'}))
    await journal.append({
      phase: 'outcome',
      op: 'push',
      request: intent['request'],
      task: intent['task'],
      decision: refs.every(({state}) => state === 'done')
        ? 'allow'
        : refs.every(({state}) => state === 'refused')
          ? 'error'
          : 'unknown',
      reconciled: true,
      refs,
    })
  }
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
