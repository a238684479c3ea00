import type {Readable, Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {flush, packet} from '../wire/pkt-line.js'
import {receiveCapabilities, zeroId, type ObjectFormat} from '../wire/receive-request.js'
import type {GitPrograms} from './children.js'
import type {Refs, Repository} from './repositories.js'

const IDLE_SECONDS = 300

export interface UploadPack {
  repository: Repository
  /** `advertise` answers info/refs, `stateless` one POST, `stateful` a whole connection */
  mode: 'advertise' | 'stateless' | 'stateful'
  /** the client's wish for a protocol version as git wrote it */
  protocol: string | undefined
  input?: AsyncIterable<Buffer> | Readable
  output: Writable
  signal: AbortSignal
}

const modeArguments = {
  advertise: ['--http-backend-info-refs'],
  stateless: ['--stateless-rpc'],
  stateful: [],
} as const

/** What a client may ask for in GIT_PROTOCOL; anything else is as if it had not asked. */
export function protocolVersion(wish: string | undefined): string | undefined {
  return /^version=[012]$/.exec(wish ?? '')?.[0]
}

/**
 * Serves one fetch from a repository; everything in it may be fetched by id.
 * @returns bytes sent
 */
export async function uploadPack(git: GitPrograms, fetch: UploadPack): Promise<number> {
  const {repository, mode, output, signal} = fetch
  const protocol = protocolVersion(fetch.protocol)
  const child = git.start(
    ['upload-pack', '--strict', `--timeout=${IDLE_SECONDS}`, ...modeArguments[mode], repository.directory],
    {...(protocol === undefined ? {} : {protocol})},
    signal,
  )
  child.stderr.resume()
  if (fetch.input) void pipeline(fetch.input, child.stdin).catch(() => undefined)
  else child.stdin.end()
  let bytes = 0
  child.stdout.on('data', (chunk: Buffer) => (bytes += chunk.length))
  if (mode === 'advertise' && protocol !== 'version=2') {
    output.write(Buffer.concat([packet('# service=git-upload-pack\n'), flush]))
  }
  try {
    await pipeline(child.stdout, output)
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    child.kill('SIGTERM')
  }
  await child.exit
  return bytes
}

/**
 * The list of refs before a push, protocol version 0: there is no other for pushing.
 * @param origin of a fork: what is there as well, without a name (gitprotocol-pack, `.have`)
 */
export function receiveAdvertisement(known: Refs, format: ObjectFormat, origin: Refs = new Map()): Buffer {
  const refs = [...known].sort(([a], [b]) => (a < b ? -1 : 1))
  const capabilities = receiveCapabilities(format)
  const named = new Set(known.values())
  const haves = [...new Set(origin.values())].filter((id) => !named.has(id))
  const all = [
    ...(refs.length === 0 ? [[zeroId(format), 'capabilities^{}']] : refs.map(([ref, id]) => [id, ref])),
    ...haves.map((id) => [id, '.have']),
  ]
  const lines = all.map(([id, ref], index) =>
    packet(`${id} ${ref}${index === 0 ? `\0${capabilities}` : ''}\n`),
  )
  return Buffer.concat([...lines, flush])
}
