import {CageError, ExitCode} from '../../core/errors.js'
import type {JournalEntry} from '../journal/journal.js'
import type {
  ForkRequest,
  HeldDecision,
  HeldPush,
  InitRequest,
  ScanAnswer,
  ScanRequest,
} from '../socket-api.js'
import {plain} from '../wire/text.js'
import type {GitService} from './service.js'

/**
 * What `gate` asks with one JSON value and is answered with one; see socket-api.ts.
 * @param route `METHOD area/`, @param name of the repository or task
 * @returns undefined when there is no such route
 */
export async function answerJson(
  service: GitService,
  route: string,
  name: string,
  body: () => Promise<Buffer>,
): Promise<unknown> {
  const text = async () => (await body()).toString()
  switch (route) {
    case 'PUT repository/':
      return initRepository(service, name, JSON.parse(await text()) as InitRequest)
    case 'GET documents/':
      return service.documents.list()
    case 'PUT documents/':
      await service.documents.put(name, await text())
      return {}
    case 'DELETE documents/':
      await service.documents.remove(name)
      return {}
    case 'PUT issued/':
      await service.issued.put(name, JSON.parse(await text()))
      return {}
    case 'DELETE issued/':
      await service.issued.remove(name)
      return {}
    case 'GET held/':
      return service.held.list()
    case 'POST held/':
      return decide(service, name, JSON.parse(await text()) as HeldDecision)
    case 'DELETE held/':
      await service.held.remove(name)
      return {}
    case 'DELETE shares/':
      await service.shares.remove(name)
      return {}
    case 'PUT forks/':
      await service.forks.put(name, (JSON.parse(await text()) as ForkRequest).of)
      return {}
    case 'POST journal/':
      await service.journal.append(JSON.parse(await text()) as JournalEntry)
      return {}
    case 'POST scan/':
      return scan(service, JSON.parse(await text()) as ScanRequest)
    default:
      return undefined
  }
}

async function initRepository(
  {repositories, journal}: GitService,
  name: string,
  {defaultBranch, objectFormat}: InitRequest,
): Promise<{repository: string; created: boolean}> {
  if (name.includes('/'))
    throw new CageError(`"${plain(name)}" is not a repository name`, {
      code: 'REPOSITORY_NAME',
      exitCode: ExitCode.usage,
    })
  const {repository, created} = await repositories.init(name, defaultBranch, objectFormat)
  const about = {repository: repository.name, defaultBranch, created}
  await journal.append({phase: 'event', op: 'repository.init', ...about})
  return {repository: repository.name, created}
}

function decide({held, journal}: GitService, task: string, decision: HeldDecision): Promise<HeldPush> {
  const {request, approve} = decision
  const op = approve ? 'push.approve' : 'push.reject'
  return held.decide(task, decision, () => journal.append({phase: 'event', op, task, request}))
}

/** Where and by which rule; hashes of what was found stay here. */
async function scan({scan: pool}: GitService, {texts}: ScanRequest): Promise<ScanAnswer> {
  const found = await pool.scan(texts.map((text) => Buffer.from(text)))
  return found.map((list) => list.map(({rule, line}) => ({rule, line})))
}
