import {mkdir, rm} from 'node:fs/promises'
import {createServer, type Server, type Socket} from 'node:net'
import {dirname} from 'node:path'
import type {Clock} from '../../core/clock.js'
import {messageOf} from '../../core/errors.js'
import type {GitGrant} from '../../policy/grant.js'
import {knownName} from '../socket-api.js'
import {ByteReader} from '../wire/byte-reader.js'
import {packet, PacketReader} from '../wire/pkt-line.js'
import {plain} from '../wire/text.js'
import {receiveAdvertisement, uploadPack} from './fetch.js'
import type {Repository} from './repositories.js'
import type {GitService} from './service.js'
import {ulid} from '../wire/ulid.js'

const GIB = 1024 ** 3
/** how long a client may go on sending after it was answered */
const LINGER_MS = 3000

/** First line of a connection, JSON; the git protocol follows. */
export interface OperatorGreeting {
  service: 'upload-pack' | 'receive-pack'
  repository: string
  /** as in GIT_PROTOCOL */
  protocol?: string
}

/**
 * The person's own git, reached by exec into this container only: the socket lies on the volume, where neither a task
 * nor `gate` can open it. Same engine, own rules: any branch and tag, findings warn.
 */
export async function serveOperator(
  service: GitService,
  path: string,
  clock: Clock,
  log: (text: string) => void,
): Promise<Server> {
  const server = createServer({allowHalfOpen: true}, (socket) => {
    socket.on('error', () => undefined)
    answer(service, socket, clock).catch((error: unknown) => {
      log(`operator: ${messageOf(error)}`)
      if (!socket.destroyed) socket.end(packet(`ERR cage: ${plain(messageOf(error))}\n`))
    })
  })
  await mkdir(dirname(path), {recursive: true, mode: 0o700})
  await rm(path, {force: true})
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  return server
}

async function answer(service: GitService, socket: Socket, clock: Clock): Promise<void> {
  const reader = new ByteReader(socket.iterator({destroyOnReturn: false}))
  const greeting = JSON.parse((await reader.line(4096))?.toString() ?? '') as OperatorGreeting
  const isMirror = knownName(greeting.repository)?.includes('/') === true
  if (isMirror && greeting.service === 'receive-pack')
    throw new Error('the dispatcher is not the upstream of this project: push there yourself')
  const repository = isMirror
    ? (await service.mirrors.refresh(greeting.repository, 'git-upload-pack')).repository
    : await service.repositories.find(greeting.repository)
  if (!repository) throw new Error(`there is no repository "${greeting.repository}"`)
  const grant = operatorGrant(repository, await service.repositories.defaultRef(repository))
  const gone = new AbortController()
  socket.once('close', () => gone.abort())
  const request = ulid(clock.now())
  if (greeting.service === 'upload-pack') {
    const record = await service.fetches.begin(grant, repository.name, request)
    const {protocol} = greeting
    const input = reader.rest()
    record.sent(
      await uploadPack(service.git, {
        repository,
        mode: 'stateful',
        protocol,
        input,
        output: socket,
        signal: gone.signal,
      }),
    )
    return
  }
  socket.write(receiveAdvertisement(await service.repositories.refs(repository), repository.format))
  await service.push.receive({
    request,
    grant,
    repository,
    input: new PacketReader(reader.rest()),
    output: socket,
    stateful: true,
    signal: gone.signal,
    taskRefs: await service.documents.branches(),
  })
  linger(socket, reader)
}

/** What still comes is read and forgotten: a client that is writing must not be cut off before it reads its answer. */
function linger(socket: Socket, reader: ByteReader): void {
  socket.setTimeout(LINGER_MS, () => socket.destroy())
  reader.drain(Infinity).then(
    () => socket.end(),
    () => socket.destroy(),
  )
}

function operatorGrant(repository: Repository, defaultRef: string): GitGrant {
  const base = defaultRef.replace(/^refs\/heads\//, '')
  return {
    version: 1,
    project: '',
    task: '',
    revision: 0,
    principal: 'operator',
    upstream: {kind: 'hosted', url: ''},
    repository: repository.name,
    branch: base,
    base,
    read: [],
    push: {
      refs: [],
      force: true,
      delete: true,
      tags: ['refs/tags/*'],
      deny: [],
      limits: {
        packBytes: 16 * GIB,
        blobBytes: 2 * GIB,
        objects: 50_000_000,
        commits: 10_000_000,
        refs: 64,
        seconds: 3600,
      },
    },
    secrets: {onFinding: 'warn'},
  }
}
